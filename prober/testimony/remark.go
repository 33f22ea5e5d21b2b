package testimony

import (
	"fmt"
	"strconv"
	"strings"
)

// Remarks are what the counters of a topic say together and none says alone, a sentence each without its full stop.
func Remarks(t Topic, delta map[string]int64) []string {
	switch t {
	case Listeners:
		return listenRemarks(delta)
	case Loss:
		return lossRemarks(delta)
	case Spurious:
		return spuriousRemarks(delta)
	default:
		return nil
	}
}

func listenRemarks(delta map[string]int64) []string {
	l, ok := ListenDrops(delta)
	if !ok || l.Total.By == 0 {
		return nil
	}
	words := map[string]string{
		"TcpExt.PAWSPassive": "for an older timestamp", "TcpExt.ListenOverflows": "at a full accept queue", "TcpExt.TCPReqQFullDrop": "at a full SYN queue",
	}
	var parts []string
	for _, p := range l.Parts {
		parts = append(parts, Count(p.By)+" "+words[p.Counter.Name])
	}
	if l.Rest > 0 {
		parts = append(parts, Count(l.Rest)+" for what has no counter of its own (no route, no memory, an ICMP error, unresolved ARP)")
	}
	out := []string{fmt.Sprintf("of %s dropped: %s", Count(l.Total.By), strings.Join(parts, ", "))}
	if l.Over > 0 {
		out = append(out, fmt.Sprintf("%s more are counted by their reason than in ListenDrops: this kernel leaves a reason out, or some came between two files", Count(l.Over)))
	}
	return out
}

func lossRemarks(delta map[string]int64) []string {
	l, ok := Retransmissions(delta)
	if !ok || l.Total.By == 0 {
		if delta["TcpExt.TCPLossProbes"] > 0 {
			return []string{"nothing else was sent again: tail loss probes alone are no alarm"}
		}
		return nil
	}
	words := map[string]string{
		"TcpExt.TCPSynRetrans": "SYNs and SYN-ACKs", "TcpExt.TCPFastRetrans": "in fast recovery", "TcpExt.TCPSlowStartRetrans": "after a timeout",
	}
	var parts []string
	for _, p := range l.Parts {
		parts = append(parts, fmt.Sprintf("%s %s", Percent(p.By, l.Total.By), words[p.Counter.Name]))
	}
	if l.Rest > 0 {
		parts = append(parts, Percent(l.Rest, l.Total.By)+" the first of a timeout or a tail loss probe")
	}
	text := fmt.Sprintf("of %s sent again: %s", Count(l.Total.By), strings.Join(parts, ", "))
	if sent := delta["Tcp.OutSegs"]; sent > 0 {
		text += fmt.Sprintf("; that is %s of what was sent", Percent(l.Total.By, l.Total.By+sent))
	}
	return []string{text}
}

func spuriousRemarks(delta map[string]int64) []string {
	again, needless := delta["Tcp.RetransSegs"], delta["TcpExt.TCPDSACKRecv"]+delta["TcpExt.TCPDSACKOfoRecv"]
	if again <= 0 || needless <= 0 {
		return nil
	}
	return []string{fmt.Sprintf("DSACKs came for %s of what was sent again: the peers had it already", Percent(min(needless, again), again))}
}

// Count writes a number with its thousands apart: 12,345.
func Count(n int64) string {
	s := strconv.FormatInt(n, 10)
	for i := len(s) - 3; i > 0 && s[i-1] != '-'; i -= 3 {
		s = s[:i] + "," + s[i:]
	}
	return s
}

// Percent writes n of total with two digits: 0.8 %, 12 %, 100 %.
func Percent(n, total int64) string {
	if total <= 0 {
		return "–"
	}
	p := 100 * float64(n) / float64(total)
	switch {
	case n > 0 && p < 0.01:
		return "< 0.01 %"
	case p > 0 && p < 0.095:
		return strconv.FormatFloat(p, 'f', 2, 64) + " %"
	case p > 0 && p < 9.5:
		return strconv.FormatFloat(p, 'f', 1, 64) + " %"
	}
	return strconv.FormatFloat(p, 'f', 0, 64) + " %"
}
