package view

import (
	"github.com/vipprobe/vipprobe/prober"
	"github.com/vipprobe/vipprobe/prober/experiment"
	"github.com/vipprobe/vipprobe/prober/wire"
)

// Queue is how many packets the far side keeps for a neighbour that it is still asking for.
type Queue struct {
	State string `json:"state"` // measured, at_least, range, inconclusive, not_applicable
	// Packets is given where measured or at_least; Low and High bound it, High being absent where nothing does.
	Packets   *int   `json:"packets,omitempty"`
	Low       int    `json:"low"`
	High      *int   `json:"high,omitempty"`
	Confirmed bool   `json:"confirmed"`
	Reading   string `json:"reading,omitempty"`
	Why       string `json:"why,omitempty"`
	// Router is whose queue it is where it is not the target's own.
	Router  string     `json:"router,omitempty"`
	Fits    []QueueFit `json:"fits,omitempty"`
	Method  string     `json:"method,omitempty"` // syn_to_closed_port, bare_ack, syn_to_open_port
	Port    uint16     `json:"port,omitempty"`
	DelayNS int64      `json:"delay_ns"` // of the answer to the far side's question
	MAC     string     `json:"mac,omitempty"`
	// P is how often loss that spares no packet more than another would leave what was seen.
	P        *float64       `json:"p,omitempty"`
	Control  QueueControl   `json:"control"`
	Contacts []QueueContact `json:"contacts"`
	Taken    []QueueTaken   `json:"taken,omitempty"`
}

// QueueFit is one setting that a queue of this length fits.
type QueueFit struct {
	Setting        string `json:"setting"`
	Low            int    `json:"low"`
	High           int    `json:"high"`
	TruesizeOctets int    `json:"truesize_octets,omitempty"`
	Meaning        string `json:"meaning"`
}

// QueueControl is the same burst once the address was known.
type QueueControl struct {
	Sent       int `json:"sent"`
	Unanswered int `json:"unanswered"`
}

// QueueContact is one burst from an address that the far side did not know.
type QueueContact struct {
	Addr     string `json:"addr"`
	Reading  string `json:"reading"`
	Sent     int    `json:"sent"`
	Answered int    `json:"answered"`
	// AskedNS is when the far side's question came, from the first probe; ToldNS how long its answer took; absent where it never asked.
	AskedNS *int64 `json:"asked_ns,omitempty"`
	ToldNS  *int64 `json:"told_ns,omitempty"`
}

// QueueTaken is an address that was not borrowed, and whose it is.
type QueueTaken struct {
	Addr string `json:"addr"`
	MAC  string `json:"mac"`
}

func newQueue(q *prober.NeighborQueue) *Queue {
	if q == nil {
		return nil
	}
	v := &Queue{State: string(q.State), Low: q.Low, Confirmed: q.Confirmed, Reading: q.Reading(), Why: q.Why, Method: string(q.Method), Port: q.Port,
		DelayNS: int64(q.Delay), Control: QueueControl{q.Control, q.ControlLost}, Contacts: []QueueContact{}}
	if q.State == experiment.QueueMeasured || q.State == experiment.QueueAtLeast {
		v.Packets, v.P = &q.Packets, &q.Chance
	}
	if q.High > 0 {
		v.High = &q.High
	}
	if q.MAC != (wire.MAC{}) {
		v.MAC = q.MAC.String()
	}
	if q.Router.IsValid() {
		v.Router = q.Router.String()
	}
	for _, f := range q.Fits {
		v.Fits = append(v.Fits, QueueFit{f.Setting, f.Low, f.High, f.Truesize, f.Meaning})
	}
	for _, c := range q.Contacts {
		x := QueueContact{Addr: c.Addr.String(), Reading: string(c.Reading), Sent: c.Sent, Answered: c.Answered}
		if c.Told > 0 {
			asked, told := int64(c.Asked), int64(c.Told)
			x.AskedNS, x.ToldNS = &asked, &told
		}
		v.Contacts = append(v.Contacts, x)
	}
	for _, t := range q.Taken {
		v.Taken = append(v.Taken, QueueTaken{t.Addr.String(), t.By.String()})
	}
	return v
}
