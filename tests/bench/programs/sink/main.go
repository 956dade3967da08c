// Command sink answers the S3 requests of benchmarks, so that the server costs next to nothing and what is measured is
// the client: objects lie in memory whose pages are touched once and reused, a body is read from the socket straight
// into its place, and a plain GET is sent from there by sendfile. It counts requests and bytes, can be told to answer
// late or slowly, and speaks HTTP and TLS at once, over the same objects.
//
// It claims no conformance. It checks no signatures, and of checksums only the CRC-64/NVME of small bodies; it makes
// ETags that are no MD5, and knows only what clients need to put, get, list and delete. How the product behaves on real servers is tested on real servers.
package main

import (
	"crypto/tls"
	"encoding/json"
	"flag"
	"log"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
)

func main() {
	log.SetFlags(0)
	log.SetPrefix("sink: ")
	plain := flag.String("http", "127.0.0.1:0", "`address` for HTTP")
	secure := flag.String("https", "127.0.0.1:0", "`address` for TLS, used when there is a certificate")
	certificate := flag.String("certificate", "", "`file` with the server's certificate")
	key := flag.String("key", "", "`file` with its key")
	latency := flag.Duration("latency", 0, "how much `longer` each request takes")
	rate := flag.Float64("rate", 0, "the link's `MiB` per second, both ways together; 0 is unlimited")
	folder := flag.String("folder", "/dev/shm", "a `folder` on tmpfs")
	room := flag.Int64("room", 64, "`GiB` of addresses; memory is taken as it is written")
	buckets := flag.String("buckets", "bench", "their `names`, with commas")
	ready := flag.String("ready", "", "`file` that will hold the addresses, as JSON, as soon as both are listened on")
	flag.Parse()

	memory, err := newSpace(*folder, *room<<30)
	if err != nil {
		log.Fatal(err)
	}
	served := newServer(newStore(memory), *latency, *rate)
	for _, name := range strings.Split(*buckets, ",") {
		served.store.createBucket(name)
	}
	addresses, failed := map[string]string{}, make(chan error, 2)
	addresses["http"] = listen(*plain, nil, served, failed)
	if *certificate != "" {
		pair, err := tls.LoadX509KeyPair(*certificate, *key)
		if err != nil {
			log.Fatal(err)
		}
		addresses["https"] = listen(*secure, &pair, served, failed)
	}
	if *ready != "" {
		if err := announce(*ready, addresses); err != nil {
			log.Fatal(err)
		}
	}
	log.Fatal(<-failed)
}

// listen serves in the background and returns the address, with the port that the system chose for 0.
func listen(address string, pair *tls.Certificate, handler http.Handler, failed chan<- error) string {
	listener, err := net.Listen("tcp", address)
	if err != nil {
		log.Fatal(err)
	}
	server := &http.Server{Handler: handler, ReadHeaderTimeout: time.Minute}
	if pair != nil {
		server.TLSConfig = &tls.Config{Certificates: []tls.Certificate{*pair}, MinVersion: tls.VersionTLS12}
		// S3 speaks HTTP/1.1; with HTTP/2 some clients would be measured over another protocol than the others.
		server.TLSNextProto = map[string]func(*http.Server, *tls.Conn, http.Handler){}
		go func() { failed <- server.ServeTLS(listener, "", "") }()
	} else {
		go func() { failed <- server.Serve(listener) }()
	}
	return listener.Addr().String()
}

// announce makes the file appear whole.
func announce(path string, addresses map[string]string) error {
	text, err := json.Marshal(addresses)
	if err != nil {
		return err
	}
	if err := os.WriteFile(path+".new", text, 0o644); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}
