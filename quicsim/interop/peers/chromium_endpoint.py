"""The client of Chromium: `python -P` this file with the contract's environment.

A page fetches the files over HTTP/3 and hands them out in its text; they are written only when all have come.
"""

import json
import os
import re
import subprocess
import sys
from base64 import b64decode, b64encode
from hashlib import sha256
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Final
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

# The page's text is dumped at the end of the virtual time budget, and virtual time stands still while files come
_PAGE: Final = """<!doctype html><meta charset="utf-8"><pre id="out" hidden></pre><script type="module">
const one = async (url) => {
  const response = await fetch(url);
  if (!response.ok) throw new Error(`${url}: ${response.status}`);
  const bytes = new Uint8Array(await response.arrayBuffer());
  let text = "";
  for (let at = 0; at < bytes.length; at += 32768) text += String.fromCharCode(...bytes.subarray(at, at + 32768));
  return btoa(text);
};
let out;
const urls = URLS, files = [];
const some = async () => {  // as many at a time as Chromium takes from a page
  for (let at; (at = files.push("") - 1) < urls.length;) files[at] = await one(urls[at]);
};
try {
  await Promise.all(Array.from({ length: 100 }, some));
  out = { files: files.slice(0, urls.length) };
} catch (error) { out = { error: `${error}` }; }
document.getElementById("out").textContent = JSON.stringify(out);
</script>"""
_BROWSER: Final = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--disable-extensions", "--enable-quic"),
    "--disable-web-security",  # the page is a file of ours, and reads what another origin serves
)
_TIME_BUDGET_MS: Final = 100_000


def main() -> None:
    """Fetch all that is requested."""
    env = os.environ
    urls = env["REQUESTS"].split()
    host = f"[{env['HOST']}]" if ":" in env["HOST"] else env["HOST"]
    origin = urlsplit(urls[0])
    with TemporaryDirectory() as directory:
        page = Path(directory, "page.html")
        page.write_text(_PAGE.replace("URLS", json.dumps(urls)), encoding="utf-8")
        command = [
            *("chromium", *_BROWSER, f"--user-data-dir={directory}/profile"),
            f"--origin-to-force-quic-on={origin.netloc}",
            f"--host-resolver-rules=MAP {origin.hostname} {host}:{env['PORT']}",
            f"--ignore-certificate-errors-spki-list={key_hash(Path(env['CERTS'], 'cert.pem'))}",
            *(f"--ssl-key-log-file={env['SSLKEYLOGFILE']}", f"--virtual-time-budget={_TIME_BUDGET_MS}"),
            *("--dump-dom", page.as_uri()),
        ]
        page_text = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False).stdout
    found = re.search(r'<pre id="out" hidden="">(.+?)</pre>', page_text, re.DOTALL)
    if found is None:
        sys.exit("Chromium ended before the files came")
    out = json.loads(found[1])
    if "error" in out:
        sys.exit(out["error"])
    for url, text in zip(urls, out["files"], strict=True):
        Path(env["DOWNLOADS"], Path(urlsplit(url).path).name).write_bytes(b64decode(text))


def key_hash(certificate: Path) -> str:
    """Return what Chromium names the key of a certificate by."""
    leaf = x509.load_pem_x509_certificates(certificate.read_bytes())[0]
    key = leaf.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return b64encode(sha256(key).digest()).decode()


if __name__ == "__main__":
    main()
