// An endpoint of the interop runner's contract on quic-go 0.29: hq-interop and h3, client and server.
package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"os"
	"path"
	"path/filepath"
	"strings"
	"time"
	_ "unsafe" // for go:linkname

	"github.com/lucas-clemente/quic-go"
	"github.com/lucas-clemente/quic-go/http3"
)

// After so many packets a client updates its keys; quic-go has this for its own tests.
//
//go:linkname keyUpdateInterval github.com/lucas-clemente/quic-go/internal/handshake.KeyUpdateInterval
var keyUpdateInterval uint64

const patience = time.Minute

var (
	testcase  = os.Getenv("TESTCASE")
	protocol  = os.Getenv("PROTOCOL")
	address   = net.JoinHostPort(os.Getenv("HOST"), os.Getenv("PORT"))
	root      = os.Getenv("WWW")
	downloads = os.Getenv("DOWNLOADS")
	certs     = os.Getenv("CERTS")
)

func main() {
	log.SetFlags(0)
	keys, err := os.OpenFile(os.Getenv("SSLKEYLOGFILE"), os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		log.Fatal(err)
	}
	if os.Getenv("ROLE") == "server" {
		err = serve(keys)
	} else {
		err = fetchAll(keys, strings.Fields(os.Getenv("REQUESTS")))
	}
	if err != nil {
		log.Fatal(err)
	}
}

func quicConfig() *quic.Config {
	return &quic.Config{
		Versions:                 []quic.VersionNumber{quic.Version1},
		HandshakeIdleTimeout:     patience,
		MaxIdleTimeout:           patience,
		RequireAddressValidation: func(net.Addr) bool { return testcase == "retry" },
	}
}

// Server

func serve(keys io.Writer) error {
	pair, err := tls.LoadX509KeyPair(filepath.Join(certs, "cert.pem"), filepath.Join(certs, "priv.key"))
	if err != nil {
		return err
	}
	config := &tls.Config{Certificates: []tls.Certificate{pair}, NextProtos: []string{protocol}, KeyLogWriter: keys}
	if protocol == "h3" {
		server := http3.Server{
			Addr:       address,
			TLSConfig:  config,
			QuicConfig: quicConfig(),
			Handler:    http.FileServer(http.Dir(root)),
		}
		return server.ListenAndServe()
	}
	listener, err := quic.ListenAddrEarly(address, config, quicConfig())
	if err != nil {
		return err
	}
	for {
		conn, err := listener.Accept(context.Background())
		if err != nil {
			return err
		}
		go serveConnection(conn)
	}
}

func serveConnection(conn quic.Connection) {
	for {
		stream, err := conn.AcceptStream(context.Background())
		if err != nil {
			return
		}
		go serveStream(stream)
	}
}

func serveStream(stream quic.Stream) {
	request, err := io.ReadAll(io.LimitReader(stream, 4096))
	name := strings.TrimSpace(strings.TrimPrefix(string(request), "GET "))
	if err == nil {
		var file *os.File
		if file, err = os.Open(filepath.Join(root, path.Clean("/"+name))); err == nil {
			_, err = io.Copy(stream, file)
			file.Close()
		}
	}
	if err != nil {
		stream.CancelWrite(1)
		return
	}
	stream.Close()
}

// Client

func fetchAll(keys io.Writer, urls []string) error {
	if len(urls) == 0 {
		return fmt.Errorf("there is no URL to fetch")
	}
	first, err := url.Parse(urls[0])
	if err != nil {
		return err
	}
	tickets := &ticketCache{ClientSessionCache: tls.NewLRUClientSessionCache(8), came: make(chan struct{}, 64)}
	config := &tls.Config{
		InsecureSkipVerify: true, // what is tested is QUIC
		ServerName:         first.Hostname(),
		NextProtos:         []string{protocol},
		KeyLogWriter:       keys,
		ClientSessionCache: tickets,
	}
	switch testcase {
	case "chacha20":
		config.CipherSuites = []uint16{tls.TLS_CHACHA20_POLY1305_SHA256}
	case "keyupdate":
		keyUpdateInterval = 100
	case "multiconnect":
		for _, each := range urls {
			if err := fetch(config, []string{each}, nil, false); err != nil {
				return err
			}
		}
		return nil
	case "resumption", "zerortt":
		if err := fetch(config, urls[:1], tickets.came, false); err != nil {
			return err
		}
		return fetch(config, urls[1:], nil, testcase == "zerortt")
	}
	return fetch(config, urls, nil, false)
}

// fetch gets URLs at once on a connection, and waits for what comes through `also`.
func fetch(config *tls.Config, urls []string, also <-chan struct{}, early bool) error {
	get, closeAll, err := connect(config, early)
	if err != nil {
		return err
	}
	defer closeAll()
	done := make(chan error, len(urls))
	for _, each := range urls {
		go func(text string) {
			parsed, err := url.Parse(text)
			if err == nil {
				err = save(parsed, get)
			}
			done <- err
		}(each)
	}
	for range urls {
		if err := <-done; err != nil {
			return err
		}
	}
	if also != nil {
		select {
		case <-also:
		case <-time.After(10 * time.Second):
			return fmt.Errorf("no session ticket came")
		}
	}
	return nil
}

type getter func(*url.URL) (io.ReadCloser, error)

// connect returns what requests a file on a new connection, and what closes it.
func connect(config *tls.Config, early bool) (getter, func(), error) {
	if protocol == "h3" {
		dial := func(ctx context.Context, _ string, tlsConfig *tls.Config, quicConfig *quic.Config) (quic.EarlyConnection, error) {
			return quic.DialAddrEarlyContext(ctx, address, tlsConfig, quicConfig)
		}
		transport := &http3.RoundTripper{TLSClientConfig: config, QuicConfig: quicConfig(), Dial: dial}
		method := http.MethodGet
		if early {
			method = http3.MethodGet0RTT
		}
		get := func(wanted *url.URL) (io.ReadCloser, error) {
			response, err := transport.RoundTrip(&http.Request{Method: method, URL: wanted, Host: wanted.Host, Header: http.Header{}})
			if err != nil {
				return nil, err
			}
			if response.StatusCode != http.StatusOK {
				return nil, fmt.Errorf("%s: %s", wanted, response.Status)
			}
			return response.Body, nil
		}
		return get, func() { transport.Close() }, nil
	}
	conn, err := quic.DialAddrEarly(address, config, quicConfig())
	if err != nil {
		return nil, nil, err
	}
	if !early {
		<-conn.HandshakeComplete().Done()
	}
	get := func(wanted *url.URL) (io.ReadCloser, error) {
		stream, err := conn.OpenStreamSync(context.Background())
		if err != nil {
			return nil, err
		}
		if _, err := fmt.Fprintf(stream, "GET %s\r\n", wanted.Path); err != nil {
			return nil, err
		}
		stream.Close()
		return io.NopCloser(stream), nil
	}
	return get, func() { conn.CloseWithError(0, "") }, nil
}

func save(wanted *url.URL, get getter) error {
	body, err := get(wanted)
	if err != nil {
		return err
	}
	defer body.Close()
	file, err := os.Create(filepath.Join(downloads, path.Base(wanted.Path)))
	if err != nil {
		return err
	}
	defer file.Close()
	_, err = io.Copy(file, body)
	return err
}

// ticketCache tells when a session ticket has come.
type ticketCache struct {
	tls.ClientSessionCache
	came chan struct{}
}

func (cache *ticketCache) Put(key string, state *tls.ClientSessionState) {
	cache.ClientSessionCache.Put(key, state)
	select {
	case cache.came <- struct{}{}:
	default:
	}
}
