package main

import (
	"encoding/json"
	"errors"
	"log"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// server answers requests. Paths below /-/ are its own: counts, settings, and a clean slate.
type server struct {
	store   *store
	latency atomic.Int64
	link    atomic.Pointer[link]

	mu     sync.Mutex
	counts counts
}

// counts is what clients did since somebody asked for a fresh start.
type counts struct {
	Requests map[string]int64 `json:"requests"` // by operation
	Refused  map[string]int64 `json:"refused"`  // by code
	Received int64            `json:"received"` // bytes of objects
	Sent     int64            `json:"sent"`
}

func newServer(objects *store, latency time.Duration, rate float64) *server {
	s := &server{store: objects}
	s.latency.Store(int64(latency))
	s.setRate(rate)
	s.forget()
	return s
}

func (s *server) setRate(mebibytes float64) {
	if mebibytes > 0 {
		s.link.Store(&link{perSecond: mebibytes * (1 << 20)})
	} else {
		s.link.Store(nil)
	}
}

func (s *server) forget() {
	s.counts = counts{Requests: map[string]int64{}, Refused: map[string]int64{}}
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimPrefix(r.URL.Path, "/")
	if own, found := strings.CutPrefix(path, "-/"); found {
		s.answerOwn(w, r, own)
		return
	}
	time.Sleep(time.Duration(s.latency.Load()))
	name, key, _ := strings.Cut(path, "/")
	operation, serve := s.route(r, name, key)
	s.mu.Lock()
	s.counts.Requests[operation]++
	s.mu.Unlock()
	if err := serve(w, r, name, key); err != nil {
		s.refuse(w, r, operation, err)
	}
}

type operation func(w http.ResponseWriter, r *http.Request, name, key string) error

// route says what a request asks for, by the name that S3 gives it.
func (s *server) route(r *http.Request, name, key string) (string, operation) {
	query := r.URL.Query()
	switch {
	case name == "" && r.Method == http.MethodGet:
		return "ListBuckets", s.listBuckets
	case key == "":
		switch {
		case r.Method == http.MethodPut && len(query) == 0:
			return "CreateBucket", s.createBucket
		case r.Method == http.MethodHead:
			return "HeadBucket", s.headBucket
		case r.Method == http.MethodGet && query.Has("location"):
			return "GetBucketLocation", s.headBucket
		case r.Method == http.MethodGet && query.Get("list-type") == "2":
			return "ListObjectsV2", s.list
		case r.Method == http.MethodPost && query.Has("delete"):
			return "DeleteObjects", s.deleteMany
		}
	case r.Method == http.MethodPut && query.Has("partNumber"):
		return "UploadPart", s.putPart
	case r.Method == http.MethodPut && r.Header.Get("X-Amz-Copy-Source") == "" && len(plain(query)) == 0:
		return "PutObject", s.put
	case r.Method == http.MethodGet && len(plain(query)) == 0:
		return "GetObject", s.get
	case r.Method == http.MethodHead:
		return "HeadObject", s.get
	case r.Method == http.MethodDelete && query.Has("uploadId"):
		return "AbortMultipartUpload", s.abort
	case r.Method == http.MethodDelete:
		return "DeleteObject", s.delete
	case r.Method == http.MethodPost && query.Has("uploads"):
		return "CreateMultipartUpload", s.begin
	case r.Method == http.MethodPost && query.Has("uploadId"):
		return "CompleteMultipartUpload", s.complete
	}
	return "Unknown", func(http.ResponseWriter, *http.Request, string, string) error {
		log.Printf("don't know %s %s", r.Method, r.URL)
		return &refusal{http.StatusNotImplemented, "NotImplemented"}
	}
}

// plain drops what clients add to say which operation they mean, and the signature of a presigned URL.
func plain(query url.Values) url.Values {
	for name := range query {
		if name == "x-id" || strings.HasPrefix(name, "X-Amz-") {
			query.Del(name)
		}
	}
	return query
}

func (s *server) refuse(w http.ResponseWriter, r *http.Request, operation string, err error) {
	var refused *refusal
	if !errors.As(err, &refused) {
		log.Printf("%s %s: %v", operation, r.URL, err)
		refused = &refusal{http.StatusInternalServerError, "InternalError"}
	}
	s.mu.Lock()
	s.counts.Refused[refused.code]++
	s.mu.Unlock()
	w.Header().Set("Content-Type", "application/xml")
	w.WriteHeader(refused.status)
	if r.Method != http.MethodHead {
		_ = writeXML(w, refusalAnswer{Code: refused.code, Message: err.Error(), Resource: r.URL.Path})
	}
}

// answerOwn: GET /-/counts, DELETE /-/counts, DELETE /-/objects, PUT /-/settings?latency=20ms&rate=100.
func (s *server) answerOwn(w http.ResponseWriter, r *http.Request, path string) {
	query := r.URL.Query()
	switch r.Method + " " + path {
	case "GET counts":
		s.mu.Lock()
		defer s.mu.Unlock()
		_ = json.NewEncoder(w).Encode(s.counts)
	case "DELETE counts":
		s.mu.Lock()
		defer s.mu.Unlock()
		s.forget()
	case "DELETE objects":
		s.store.empty()
	case "PUT settings":
		latency, failed := time.ParseDuration(query.Get("latency"))
		rate, broken := strconv.ParseFloat(query.Get("rate"), 64)
		if failed != nil || broken != nil {
			http.Error(w, "settings are latency=DURATION and rate=MIB", http.StatusBadRequest)
			return
		}
		s.latency.Store(int64(latency))
		s.setRate(rate)
	default:
		http.Error(w, "known are GET counts, DELETE counts, DELETE objects and PUT settings", http.StatusNotFound)
	}
}
