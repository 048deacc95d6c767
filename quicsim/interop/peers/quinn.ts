// An endpoint of the interop runner's contract on quinn, in Deno: hq-interop, client and server.

const env = (name: string): string => Deno.env.get(name) ?? "";
const testcase = env("TESTCASE");
const address = { hostname: env("HOST"), port: Number(env("PORT")) };
const alpnProtocols = [env("PROTOCOL")];
const patience = { maxIdleTimeout: 60_000 };

const certificate = (name: string): string => Deno.readTextFileSync(`${env("CERTS")}/${name}`);

async function bytesOf(stream: ReadableStream<Uint8Array>): Promise<Uint8Array> {
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

async function write(stream: WritableStream<Uint8Array>, bytes: Uint8Array): Promise<void> {
  const writer = stream.getWriter();
  await writer.write(bytes);
  await writer.close();
}

// Server

async function serve(): Promise<void> {
  const endpoint = new Deno.QuicEndpoint(address);
  const listener = endpoint.listen({
    alpnProtocols,
    cert: certificate("cert.pem"),
    key: certificate("priv.key"),
    ...patience,
  });
  for await (const incoming of listener) {
    serveConnection(incoming).catch((error) => console.error(`${error}`));
  }
}

async function serveConnection(incoming: Deno.QuicIncoming): Promise<void> {
  const conn = await incoming.accept({ alpnProtocols, zeroRtt: testcase === "zerortt", ...patience });
  for await (const stream of conn.incomingBidirectionalStreams) {
    serveStream(stream).catch((error) => console.error(`${error}`));
  }
}

async function serveStream(stream: Deno.QuicBidirectionalStream): Promise<void> {
  const request = new TextDecoder().decode(await bytesOf(stream.readable));
  const name = request.replace(/^GET /, "").trim().split("/").filter((part) => part !== "" && part !== "..").join("/");
  let content: Uint8Array;
  try {
    content = await Deno.readFile(`${env("WWW")}/${name}`);
  } catch {
    await stream.writable.abort();
    return;
  }
  await write(stream.writable, content);
}

// Client

// `early` sends the requests as 0-RTT; the endpoint keeps the session between connections.
async function fetchAll(urls: string[], endpoint: Deno.QuicEndpoint, early: boolean): Promise<void> {
  const conn = await Deno.connectQuic({
    ...address,
    serverName: new URL(urls[0]).hostname.replace(/[\[\]]/g, ""),
    alpnProtocols,
    caCerts: [certificate("ca.pem")],
    endpoint,
    zeroRtt: early,
    ...patience,
  });
  await Promise.all(urls.map(async (url) => {
    const path = new URL(url).pathname;
    const stream = await conn.createBidirectionalStream({ waitUntilAvailable: true });
    await write(stream.writable, new TextEncoder().encode(`GET ${path}\r\n`));
    const file = await Deno.open(`${env("DOWNLOADS")}/${path.split("/").pop()}`, {
      create: true,
      truncate: true,
      write: true,
    });
    await stream.readable.pipeTo(file.writable);
  }));
  conn.close({ closeCode: 0, reason: "" });
  await conn.closed;
}

async function runClient(): Promise<void> {
  const urls = env("REQUESTS").split(/\s+/).filter((url) => url !== "");
  const endpoint = new Deno.QuicEndpoint({ hostname: address.hostname.includes(":") ? "::" : "0.0.0.0" });
  if (testcase === "multiconnect") {
    for (const url of urls) await fetchAll([url], endpoint, false);
  } else if (testcase === "resumption" || testcase === "zerortt") {
    await fetchAll(urls.slice(0, 1), endpoint, false);
    await fetchAll(urls.slice(1), endpoint, testcase === "zerortt");
  } else {
    await fetchAll(urls, endpoint, false);
  }
  endpoint.close();
}

try {
  await (env("ROLE") === "server" ? serve() : runClient());
} catch (error) {
  console.error(`${error}`);
  Deno.exit(1);
}
Deno.exit(0);
