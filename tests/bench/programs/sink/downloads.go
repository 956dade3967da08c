package main

import (
	"fmt"
	"io"
	"log"
	"net/http"
	"strconv"
	"strings"
)

// get answers GET and HEAD.
func (s *server) get(w http.ResponseWriter, r *http.Request, name, key string) error {
	found, err := s.store.hold(name, key)
	if err != nil {
		return err
	}
	defer s.store.release(found)
	if wanted := r.Header.Get("If-Match"); wanted != "" && !sameTag(wanted, found.etag) {
		return precondition
	}
	first, length, partial, err := byteRange(r.Header.Get("Range"), found.size)
	if err != nil {
		return err
	}
	header := w.Header()
	for name, values := range found.header {
		header[name] = values
	}
	if header.Get("Content-Type") == "" {
		header.Set("Content-Type", "binary/octet-stream")
	}
	header.Set("ETag", found.etag)
	header.Set("Last-Modified", found.modified.Format(http.TimeFormat))
	header.Set("Accept-Ranges", "bytes")
	header.Set("Content-Length", strconv.FormatInt(length, 10))
	if partial {
		header.Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", first, first+length-1, found.size))
		w.WriteHeader(http.StatusPartialContent)
	}
	if r.Method == http.MethodHead {
		return nil
	}
	if err := s.send(w, r, found, first, length); err != nil {
		log.Printf("%s %s: %v", r.Method, r.URL, err) // the client went away: nobody is left to be told
	}
	return nil
}

// inline is up to where an answer goes out in one write with its head.
const inline = 64 << 10

func (s *server) send(w http.ResponseWriter, r *http.Request, found *object, first, length int64) error {
	slow := s.link.Load()
	for _, piece := range found.pieces {
		if first >= piece.length {
			first -= piece.length
			continue
		}
		part := extent{piece.offset + first, min(piece.length-first, length)}
		first, length = 0, length-part.length
		if err := s.sendPart(w, part, slow, r.TLS != nil); err != nil {
			return err
		}
		s.mu.Lock()
		s.counts.Sent += part.length
		s.mu.Unlock()
		if length == 0 {
			break
		}
	}
	return nil
}

func (s *server) sendPart(w http.ResponseWriter, part extent, slow *link, encrypted bool) error {
	data := s.store.space.bytes(part)
	switch {
	case slow != nil:
		for len(data) > 0 {
			piece := data[:min(quantum, len(data))]
			slow.pass(len(piece))
			if _, err := w.Write(piece); err != nil {
				return err
			}
			data = data[len(piece):]
		}
		return nil
	case encrypted || part.length <= inline:
		_, err := w.Write(data)
		return err
	}
	file, err := s.store.space.reopen()
	if err != nil {
		return err
	}
	defer file.Close()
	if _, err := file.Seek(part.offset, io.SeekStart); err != nil {
		return err
	}
	_, err = io.CopyN(w, file, part.length) // sendfile: net/http passes the file through to the socket
	return err
}

// byteRange reads a Range header: which byte is the first, how many, and whether that is asked for at all.
func byteRange(header string, size int64) (first, length int64, partial bool, err error) {
	asked, found := strings.CutPrefix(header, "bytes=")
	if !found {
		return 0, size, false, nil
	}
	unsatisfiable := &refusal{http.StatusRequestedRangeNotSatisfiable, "InvalidRange"}
	from, to, found := strings.Cut(asked, "-")
	if !found || strings.Contains(asked, ",") {
		return 0, 0, false, unsatisfiable
	}
	if from == "" {
		last, err := strconv.ParseInt(to, 10, 64)
		if err != nil || last <= 0 || size == 0 {
			return 0, 0, false, unsatisfiable
		}
		last = min(last, size)
		return size - last, last, true, nil
	}
	first, err = strconv.ParseInt(from, 10, 64)
	if err != nil || first >= size {
		return 0, 0, false, unsatisfiable
	}
	end := size - 1
	if to != "" {
		if end, err = strconv.ParseInt(to, 10, 64); err != nil || end < first {
			return 0, 0, false, unsatisfiable
		}
		end = min(end, size-1)
	}
	return first, end - first + 1, true, nil
}
