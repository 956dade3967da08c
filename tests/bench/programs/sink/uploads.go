package main

import (
	"encoding/base64"
	"encoding/binary"
	"encoding/xml"
	"fmt"
	"hash/crc64"
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
	if length <= checked && contradicts(r.Header, s.store.space.bytes(place)) {
		s.store.space.give(place)
		return nil, badDigest
	}
	s.mu.Lock()
	s.counts.Received += length
	s.mu.Unlock()
	return s.store.newObject([]extent{place}, kept(r.Header)), nil
}

// checked is up to how many bytes a body's CRC-64/NVME is checked: enough for a client to find out that it is. What is
// larger is taken as it is, for the sink must cost next to nothing.
const checked = 1 << 20

var nvme = crc64.MakeTable(0x9a6c9329ac4bc9b5)

// contradicts says whether the checksum that a client sent along is that of another body.
func contradicts(header http.Header, body []byte) bool {
	told := header.Get("X-Amz-Checksum-Crc64nvme")
	if told == "" {
		return false
	}
	sum := binary.BigEndian.AppendUint64(nil, crc64.Checksum(body, nvme))
	return told != base64.StdEncoding.EncodeToString(sum)
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
