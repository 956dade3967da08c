package main

import (
	"bufio"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"
)

// content is the body of an upload as the client meant it, and its length: many clients send it in signed chunks.
func content(r *http.Request) (io.Reader, int64, error) {
	if !strings.HasPrefix(r.Header.Get("X-Amz-Content-Sha256"), "STREAMING-") {
		if r.ContentLength < 0 {
			return nil, 0, &refusal{http.StatusLengthRequired, "MissingContentLength"}
		}
		return r.Body, r.ContentLength, nil
	}
	length, err := strconv.ParseInt(r.Header.Get("X-Amz-Decoded-Content-Length"), 10, 64)
	if err != nil || length < 0 {
		return nil, 0, &refusal{http.StatusLengthRequired, "MissingContentLength"}
	}
	return &chunked{from: bufio.NewReaderSize(r.Body, 64<<10)}, length, nil
}

// chunked reads aws-chunked: lines "size in hex;chunk-signature=...", each before its data, then perhaps trailers.
// Signatures and trailers are passed over.
type chunked struct {
	from *bufio.Reader
	left int64
	done bool
}

func (c *chunked) Read(into []byte) (int, error) {
	for c.left == 0 {
		if c.done {
			return 0, io.EOF
		}
		if err := c.next(); err != nil {
			return 0, err
		}
	}
	if int64(len(into)) > c.left {
		into = into[:c.left]
	}
	n, err := c.from.Read(into)
	if c.left -= int64(n); c.left == 0 && err == nil {
		_, err = c.from.Discard(2) // the line's end behind the data
	}
	if err == io.EOF {
		err = io.ErrUnexpectedEOF
	}
	return n, err
}

func (c *chunked) next() error {
	line, err := c.from.ReadString('\n')
	if err != nil {
		return io.ErrUnexpectedEOF
	}
	size, _, _ := strings.Cut(strings.TrimRight(line, "\r\n"), ";")
	if c.left, err = strconv.ParseInt(size, 16, 64); err != nil || c.left < 0 {
		return fmt.Errorf("a chunk's first line is %q", line)
	}
	if c.left == 0 {
		c.done = true
		_, err = io.Copy(io.Discard, c.from)
	}
	return err
}

// link is a line of so many bytes per second, shared by all requests and both directions.
type link struct {
	perSecond float64

	mu   sync.Mutex
	free time.Time
}

// quantum is how much goes over a slow link at a time.
const quantum = 256 << 10

// pass waits until so many bytes have gone over the link.
func (l *link) pass(count int) {
	l.mu.Lock()
	if now := time.Now(); l.free.Before(now) {
		l.free = now
	}
	l.free = l.free.Add(time.Duration(float64(count) / l.perSecond * float64(time.Second)))
	until := l.free
	l.mu.Unlock()
	time.Sleep(time.Until(until))
}

// fill reads exactly so much.
func (l *link) fill(into []byte, from io.Reader) error {
	if l == nil {
		_, err := io.ReadFull(from, into)
		return err
	}
	for len(into) > 0 {
		piece := into[:min(quantum, len(into))]
		if _, err := io.ReadFull(from, piece); err != nil {
			return err
		}
		l.pass(len(piece))
		into = into[len(piece):]
	}
	return nil
}
