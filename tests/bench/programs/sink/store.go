package main

import (
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// object is immutable but for who still holds its memory.
type object struct {
	pieces   []extent
	size     int64
	etag     string
	modified time.Time
	header   http.Header // what the client sent along and wants to see again
	holders  int         // the bucket, and each request that reads it
}

type bucket struct {
	objects map[string]*object
	keys    []string // in byte order
}

type upload struct {
	header http.Header
	parts  map[int]*object
}

// refusal is an answer of S3 that is an error.
type refusal struct {
	status int
	code   string
}

func (r *refusal) Error() string { return r.code }

var (
	noSuchKey    = &refusal{http.StatusNotFound, "NoSuchKey"}
	noSuchBucket = &refusal{http.StatusNotFound, "NoSuchBucket"}
	noSuchUpload = &refusal{http.StatusNotFound, "NoSuchUpload"}
	invalidPart  = &refusal{http.StatusBadRequest, "InvalidPart"}
	badDigest    = &refusal{http.StatusBadRequest, "BadDigest"}
	precondition = &refusal{http.StatusPreconditionFailed, "PreconditionFailed"}
)

// store is the index: which keys there are, and where their bytes lie.
type store struct {
	space *space

	mu      sync.Mutex
	buckets map[string]*bucket
	uploads map[string]*upload
	number  int64
}

func newStore(memory *space) *store {
	return &store{space: memory, buckets: map[string]*bucket{}, uploads: map[string]*upload{}}
}

func (s *store) createBucket(name string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.buckets[name] == nil {
		s.buckets[name] = &bucket{objects: map[string]*object{}}
	}
}

func (s *store) hasBucket(name string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.buckets[name] != nil
}

func (s *store) bucketNames() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	var names []string
	for name := range s.buckets {
		names = append(names, name)
	}
	slices.Sort(names)
	return names
}

// newObject gives pieces an identity; the caller is its first holder.
func (s *store) newObject(pieces []extent, header http.Header) *object {
	made := &object{pieces: pieces, modified: time.Now().UTC(), header: header, holders: 1}
	for _, piece := range pieces {
		made.size += piece.length
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.number++
	made.etag = fmt.Sprintf(`"sink-%d"`, s.number)
	return made
}

// put lets a bucket hold the object under a key, if the conditions of the request allow it.
func (s *store) put(name, key string, made *object, header http.Header) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	held := s.buckets[name]
	if held == nil {
		return noSuchBucket
	}
	before := held.objects[key]
	if header.Get("If-None-Match") == "*" && before != nil {
		return precondition
	}
	if wanted := header.Get("If-Match"); wanted != "" && (before == nil || !sameTag(wanted, before.etag)) {
		return precondition
	}
	if before == nil {
		at, _ := slices.BinarySearch(held.keys, key)
		held.keys = slices.Insert(held.keys, at, key)
	} else {
		s.let(before)
	}
	held.objects[key] = made
	return nil
}

// hold finds an object and keeps its memory from being reused until release.
func (s *store) hold(name, key string) (*object, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	held := s.buckets[name]
	if held == nil {
		return nil, noSuchBucket
	}
	found := held.objects[key]
	if found == nil {
		return nil, noSuchKey
	}
	found.holders++
	return found, nil
}

func (s *store) release(found *object) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.let(found)
}

func (s *store) let(found *object) {
	if found.holders--; found.holders == 0 {
		for _, piece := range found.pieces {
			s.space.give(piece)
		}
	}
}

func (s *store) delete(name, key string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	held := s.buckets[name]
	if held == nil || held.objects[key] == nil {
		return
	}
	s.let(held.objects[key])
	delete(held.objects, key)
	at, _ := slices.BinarySearch(held.keys, key)
	held.keys = slices.Delete(held.keys, at, at+1)
}

// empty removes every object and every upload that was never completed; the buckets stay.
func (s *store) empty() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, held := range s.buckets {
		for _, found := range held.objects {
			s.let(found)
		}
		held.objects, held.keys = map[string]*object{}, nil
	}
	for id, begun := range s.uploads {
		for _, part := range begun.parts {
			s.let(part)
		}
		delete(s.uploads, id)
	}
}

func (s *store) beginUpload(header http.Header) string {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.number++
	id := fmt.Sprintf("upload-%d", s.number)
	s.uploads[id] = &upload{header: header, parts: map[int]*object{}}
	return id
}

func (s *store) putPart(id string, number int, made *object) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	begun := s.uploads[id]
	if begun == nil {
		return noSuchUpload
	}
	if before := begun.parts[number]; before != nil {
		s.let(before)
	}
	begun.parts[number] = made
	return nil
}

// endUpload forgets an upload and returns the pieces of its parts in the order given, and what the client sent along.
// Parts that aren't named are let go.
func (s *store) endUpload(id string, numbers []int) ([]extent, http.Header, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	begun := s.uploads[id]
	if begun == nil {
		return nil, nil, noSuchUpload
	}
	for _, number := range numbers {
		if begun.parts[number] == nil {
			return nil, nil, invalidPart
		}
	}
	var pieces []extent
	for _, number := range numbers {
		pieces = append(pieces, begun.parts[number].pieces...)
		delete(begun.parts, number)
	}
	for _, part := range begun.parts {
		s.let(part)
	}
	delete(s.uploads, id)
	return pieces, begun.header, nil
}

// entry is one line of a listing: an object, or everything below a common prefix.
type entry struct {
	key    string
	object *object
}

// list returns up to `most` entries after a key, and whether there are more.
func (s *store) list(name, prefix, delimiter, after string, most int) ([]entry, bool, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	held := s.buckets[name]
	if held == nil {
		return nil, false, noSuchBucket
	}
	at, _ := slices.BinarySearch(held.keys, max(prefix, after))
	folder := delimiter != "" && len(after) > len(prefix) && strings.HasSuffix(after, delimiter)
	var found []entry
	for at < len(held.keys) && strings.HasPrefix(held.keys[at], prefix) {
		key := held.keys[at]
		if key == after || folder && strings.HasPrefix(key, after) {
			at++ // seen on the page before, alone or in its common prefix
			continue
		}
		if len(found) == most {
			return found, true, nil
		}
		if end := strings.Index(key[len(prefix):], delimiter); delimiter != "" && end >= 0 {
			common := key[:len(prefix)+end+len(delimiter)]
			found = append(found, entry{key: common})
			for at < len(held.keys) && strings.HasPrefix(held.keys[at], common) {
				at++
			}
			continue
		}
		found = append(found, entry{key, held.objects[key]})
		at++
	}
	return found, false, nil
}

func sameTag(one, other string) bool {
	return one == "*" || strings.Trim(one, `"`) == strings.Trim(other, `"`)
}
