package main

import (
	"encoding/xml"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"time"
)

func (s *server) delete(w http.ResponseWriter, _ *http.Request, name, key string) error {
	s.store.delete(name, key)
	w.WriteHeader(http.StatusNoContent)
	return nil
}

func (s *server) deleteMany(w http.ResponseWriter, r *http.Request, name, _ string) error {
	body, _, err := content(r)
	if err != nil {
		return err
	}
	var wanted deletion
	if err := xml.NewDecoder(body).Decode(&wanted); err != nil {
		return &refusal{http.StatusBadRequest, "MalformedXML"}
	}
	var gone deleted
	for _, object := range wanted.Objects {
		s.store.delete(name, object.Key)
		if !wanted.Quiet {
			gone.Deleted = append(gone.Deleted, object)
		}
	}
	return answer(w, gone)
}

func (s *server) createBucket(_ http.ResponseWriter, _ *http.Request, name, _ string) error {
	s.store.createBucket(name)
	return nil
}

func (s *server) headBucket(w http.ResponseWriter, r *http.Request, name, _ string) error {
	if !s.store.hasBucket(name) {
		return noSuchBucket
	}
	w.Header().Set("X-Amz-Bucket-Region", "us-east-1")
	if r.Method == http.MethodGet {
		return answer(w, location{})
	}
	return nil
}

func (s *server) listBuckets(w http.ResponseWriter, _ *http.Request, _, _ string) error {
	var all bucketList
	for _, name := range s.store.bucketNames() {
		all.Buckets = append(all.Buckets, listedBucket{name, time.Now().UTC().Format(time.RFC3339)})
	}
	return answer(w, all)
}

func (s *server) list(w http.ResponseWriter, r *http.Request, name, _ string) error {
	query := r.URL.Query()
	most := 1000
	if asked, err := strconv.Atoi(query.Get("max-keys")); err == nil && asked >= 0 && asked < most {
		most = asked
	}
	prefix, delimiter := query.Get("prefix"), query.Get("delimiter")
	after := query.Get("continuation-token")
	if after == "" {
		after = query.Get("start-after")
	}
	found, more, err := s.store.list(name, prefix, delimiter, after, most)
	if err != nil {
		return err
	}
	spell := func(text string) string { return text }
	if query.Get("encoding-type") == "url" {
		spell = func(text string) string { return strings.ReplaceAll(url.QueryEscape(text), "%2F", "/") }
	}
	page := listing{
		Name: name, Prefix: spell(prefix), Delimiter: spell(delimiter), MaxKeys: most, KeyCount: len(found),
		IsTruncated: more, EncodingType: query.Get("encoding-type"),
	}
	if more && len(found) > 0 {
		page.NextContinuationToken = found[len(found)-1].key
	}
	for _, one := range found {
		if one.object == nil {
			page.CommonPrefixes = append(page.CommonPrefixes, commonPrefix{spell(one.key)})
			continue
		}
		modified := one.object.modified.Format("2006-01-02T15:04:05.000Z")
		page.Contents = append(page.Contents, listed{spell(one.key), modified, one.object.etag, one.object.size, "STANDARD"})
	}
	return answer(w, page)
}
