package main

import (
	"encoding/xml"
	"fmt"
	"io"
	"net/http"
	"strconv"
	"strings"
)

func (s *server) put(w http.ResponseWriter, r *http.Request, name, key string) error {
	made, err := s.receive(r)
	if err != nil {
		return err
	}
	if err := s.store.put(name, key, made, r.Header); err != nil {
		s.store.release(made)
		return err
	}
	w.Header().Set("ETag", made.etag)
	return nil
}

func (s *server) putPart(w http.ResponseWriter, r *http.Request, _, _ string) error {
	number, err := strconv.Atoi(r.URL.Query().Get("partNumber"))
	if err != nil {
		return invalidPart
	}
	made, err := s.receive(r)
	if err != nil {
		return err
	}
	if err := s.store.putPart(r.URL.Query().Get("uploadId"), number, made); err != nil {
		s.store.release(made)
		return err
	}
	w.Header().Set("ETag", made.etag)
	return nil
}

// receive reads a body straight into its place.
func (s *server) receive(r *http.Request) (*object, error) {
	body, length, err := content(r)
	if err != nil {
		return nil, err
	}
	place, err := s.store.space.take(length)
	if err != nil {
		return nil, err
	}
	if err := s.link.Load().fill(s.store.space.bytes(place), body); err != nil {
		s.store.space.give(place)
		return nil, fmt.Errorf("the body broke off: %w", err)
	}
	if _, err := io.Copy(io.Discard, body); err != nil { // the last chunk's line and trailers
		s.store.space.give(place)
		return nil, err
	}
	s.mu.Lock()
	s.counts.Received += length
	s.mu.Unlock()
	return s.store.newObject([]extent{place}, kept(r.Header)), nil
}

// kept is what a client wants to see again with the object.
func kept(header http.Header) http.Header {
	again := http.Header{}
	for name, values := range header {
		if strings.HasPrefix(name, "X-Amz-Meta-") || name == "Content-Type" {
			again[name] = values
		}
	}
	return again
}

func (s *server) begin(w http.ResponseWriter, r *http.Request, name, key string) error {
	if !s.store.hasBucket(name) {
		return noSuchBucket
	}
	return answer(w, initiated{Bucket: name, Key: key, UploadID: s.store.beginUpload(kept(r.Header))})
}

func (s *server) complete(w http.ResponseWriter, r *http.Request, name, key string) error {
	var wanted completion
	if err := xml.NewDecoder(r.Body).Decode(&wanted); err != nil {
		return &refusal{http.StatusBadRequest, "MalformedXML"}
	}
	var numbers []int
	for _, part := range wanted.Parts {
		numbers = append(numbers, part.Number)
	}
	pieces, header, err := s.store.endUpload(r.URL.Query().Get("uploadId"), numbers)
	if err != nil {
		return err
	}
	made := s.store.newObject(pieces, header)
	if err := s.store.put(name, key, made, r.Header); err != nil {
		s.store.release(made)
		return err
	}
	return answer(w, completed{Bucket: name, Key: key, ETag: made.etag})
}

func (s *server) abort(w http.ResponseWriter, r *http.Request, _, _ string) error {
	if _, _, err := s.store.endUpload(r.URL.Query().Get("uploadId"), nil); err != nil {
		return err
	}
	w.WriteHeader(http.StatusNoContent)
	return nil
}
