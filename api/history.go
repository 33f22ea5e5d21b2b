package api

import (
	"slices"
	"sync"
	"time"

	"github.com/vipprobe/vipprobe/targets"
)

// historyEntry is a probe that was made for a request: its log and its figures, not its rounds, so that its size is bounded.
type historyEntry struct {
	ID      int64
	Started time.Time
	Module  string
	Target  string
	Success bool

	log     []byte
	figures *figures
	config  *targets.Config // in force then
}

// history keeps the last probes, and of failed ones as many again, so that a rare failure is not washed out by successes.
type history struct {
	mu     sync.Mutex
	limit  int
	next   int64
	all    []historyEntry
	failed []historyEntry
}

func newHistory(limit int) *history { return &history{limit: limit} }

func (h *history) add(e historyEntry) {
	h.mu.Lock()
	defer h.mu.Unlock()
	e.ID = h.next
	h.next++
	h.all = append(h.all, e)
	if len(h.all) <= h.limit {
		return
	}
	if old := h.all[0]; !old.Success {
		h.failed = append(h.failed, old)
		if len(h.failed) > h.limit {
			h.failed = slices.Delete(h.failed, 0, 1)
		}
	}
	h.all = slices.Delete(h.all, 0, 1)
}

func (h *history) get(id int64) (historyEntry, bool) {
	h.mu.Lock()
	defer h.mu.Unlock()
	for _, list := range [][]historyEntry{h.all, h.failed} {
		if i := slices.IndexFunc(list, func(e historyEntry) bool { return e.ID == id }); i >= 0 {
			return list[i], true
		}
	}
	return historyEntry{}, false
}

// recent lists what is kept, newest first.
func (h *history) recent() []historyEntry {
	h.mu.Lock()
	defer h.mu.Unlock()
	out := append(slices.Clone(h.failed), h.all...)
	slices.Reverse(out)
	return out
}
