package main

import (
	"fmt"
	"math"
	"strings"
	"unicode/utf8"

	"github.com/vipprobe/vipprobe/prober/peers"
	"github.com/vipprobe/vipprobe/prober/testimony"
)

// watchPeers writes who is behind what was sent again, if that was looked at; host is the namespace's own count of it.
func (p *printer) watchPeers(r *peers.Report, host int64, err error) {
	if err != nil {
		p.f("%s\n", p.paragraph("peers: ", "not looked at: "+err.Error(), 2))
	}
	if r == nil {
		return
	}
	p.f("%s\n", p.tint(bold, p.paragraph("", peersHead(r, host), 2)))
	if len(r.Peers) == 0 {
		return
	}
	addr := len("peer")
	for i := range r.Peers {
		addr = max(addr, len(r.Peers[i].Addr.String()))
	}
	columns := []int{7, 10, 11, 9, 8, 8, 10, 9}
	row := func(c colour, who string, cells ...string) {
		var b strings.Builder
		b.WriteString("  " + pad(who, addr))
		for i, cell := range cells[:len(columns)] {
			b.WriteString(right(cell, columns[i]))
		}
		line := b.String()
		said := strings.Join(cells[len(columns):], "")
		if said != "" && utf8.RuneCountInString(line)+2+utf8.RuneCountInString(said) > min(lineWidth, max(p.width, leastWidth)) {
			p.f("%s\n%s\n", p.tint(c, line), p.paragraph("      ", said, 6))
			return
		}
		p.f("%s\n", p.tint(c, strings.TrimRight(line+"  "+said, " ")))
	}
	row(bold, "peer", "conns", "repeating", "segments", "again", "share", "rate", "reordered", "distance")
	for i := range r.Peers {
		q := &r.Peers[i]
		c := plain
		if q.Repeats.StandsOut || q.Reorders.StandsOut {
			c = red
		}
		row(c, q.Addr.String(), count(q.Connections), count(q.Repeating), count(q.Segments), count(q.Retransmitted),
			fmt.Sprintf("%.0f %%", 100*q.Share), testimony.Percent(int64(q.Retransmitted), int64(q.Segments)), count(q.Reorderings), count(q.Distance), verdictOf(q))
	}
	p.peersFoot(r)
}

func count[T int | uint32 | uint64](n T) string { return testimony.Count(int64(n)) }

func peersHead(r *peers.Report, host int64) string {
	text := fmt.Sprintf("peers of %s connections: %s segments sent again", count(r.Open), count(r.Total.Retransmitted))
	if r.Total.Segments > 0 {
		text += fmt.Sprintf(" of %s with data", count(r.Total.Segments))
	}
	if host > 0 {
		text += fmt.Sprintf("; the host counts %s, so %.0f %% are accounted for", testimony.Count(host), 100*r.Covers(host))
	}
	return text
}

// verdictOf says whether a peer stands out, by which test and with what chance.
func verdictOf(q *peers.Peer) string {
	var said []string
	for _, t := range []struct {
		what string
		test peers.Test
	}{{"repeats", q.Repeats}, {"reordering", q.Reorders}} {
		if t.test.StandsOut {
			said = append(said, fmt.Sprintf("%s stand%s out (p %s)", t.what, map[bool]string{true: "s"}[t.what == "reordering"], chance(t.test.P)))
		}
	}
	if len(said) == 0 && q.Repeats.Untested != "" {
		return q.Repeats.Untested
	}
	return strings.Join(said, ", ")
}

func chance(p float64) string {
	if p < 1e-12 {
		return "< 1e-12"
	}
	return fmt.Sprintf("= %.0e", math.Max(p, 1e-12))
}

// peersFoot says what the table rests on and what it lacks.
func (p *printer) peersFoot(r *peers.Report) {
	var foot []string
	if r.Others > 0 {
		foot = append(foot, fmt.Sprintf("%s more peers had repeats or reordering (--top)", count(r.Others)))
	}
	if r.Ended > 0 {
		foot = append(foot, fmt.Sprintf("%s connections ended between two readings, and what they sent after the one before is not in it (--interval)", count(r.Ended)))
	}
	if r.Unfollowed > 0 {
		foot = append(foot, fmt.Sprintf("%s connections were too many to be followed", count(r.Unfollowed)))
	}
	foot = append(foot, fmt.Sprintf("a peer stands out where so many of its connections fare badly as by chance only with p ≤ %g over all peers and looks, and twice as many as of the others' that sent as much", r.Alpha))
	for _, text := range foot {
		p.f("%s\n", p.paragraph("  ", text, 2))
	}
}
