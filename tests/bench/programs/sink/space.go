package main

import (
	"fmt"
	"os"
	"slices"
	"sync"
	"syscall"
)

const page = 4096

// extent is a piece of the space.
type extent struct{ offset, length int64 }

// space is one sparse file on tmpfs, mapped into memory. Low addresses are given out first, so that pages that were
// touched once are used again and again: a page that a virtual machine never touched costs ten times a copy.
type space struct {
	file   *os.File
	memory []byte

	mu   sync.Mutex
	free []extent // by offset, never two that touch
}

// newSpace makes a space whose file has no name any more, so its memory goes when the process goes.
func newSpace(folder string, length int64) (*space, error) {
	file, err := os.CreateTemp(folder, "waypost-sink-")
	if err != nil {
		return nil, err
	}
	if err := os.Remove(file.Name()); err != nil {
		return nil, err
	}
	if err := file.Truncate(length); err != nil {
		return nil, err
	}
	protection := syscall.PROT_READ | syscall.PROT_WRITE
	memory, err := syscall.Mmap(int(file.Fd()), 0, int(length), protection, syscall.MAP_SHARED)
	if err != nil {
		return nil, fmt.Errorf("can't map %d bytes: %w", length, err)
	}
	return &space{file: file, memory: memory, free: []extent{{0, length}}}, nil
}

// take finds room for so many bytes.
func (s *space) take(length int64) (extent, error) {
	rounded := (length + page - 1) / page * page
	s.mu.Lock()
	defer s.mu.Unlock()
	for i, hole := range s.free {
		if hole.length < rounded {
			continue
		}
		if hole.length == rounded {
			s.free = slices.Delete(s.free, i, i+1)
		} else {
			s.free[i] = extent{hole.offset + rounded, hole.length - rounded}
		}
		return extent{hole.offset, length}, nil
	}
	return extent{}, fmt.Errorf("no room for %d bytes in a row: start the sink with more -room", length)
}

// give takes it back.
func (s *space) give(e extent) {
	start, end := e.offset, e.offset+(e.length+page-1)/page*page
	if start == end {
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	at, _ := slices.BinarySearchFunc(s.free, start, func(hole extent, offset int64) int {
		return int(min(max(hole.offset-offset, -1), 1))
	})
	if at < len(s.free) && s.free[at].offset == end {
		end += s.free[at].length
		s.free = slices.Delete(s.free, at, at+1)
	}
	if at > 0 && s.free[at-1].offset+s.free[at-1].length == start {
		at--
		start = s.free[at].offset
		s.free = slices.Delete(s.free, at, at+1)
	}
	s.free = slices.Insert(s.free, at, extent{start, end - start})
}

// bytes is the memory of an extent.
func (s *space) bytes(e extent) []byte {
	return s.memory[e.offset : e.offset+e.length : e.offset+e.length]
}

// reopen gives the file with a position of its own, for sendfile to move.
func (s *space) reopen() (*os.File, error) {
	return os.Open(fmt.Sprintf("/proc/self/fd/%d", s.file.Fd()))
}
