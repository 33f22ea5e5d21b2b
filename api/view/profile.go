package view

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"time"

	"github.com/vipprobe/vipprobe/prober"
	"github.com/vipprobe/vipprobe/prober/profile"
)

// ProfileFormat is the version of the stored form of profiles; readers refuse others.
const ProfileFormat = 1

// Profiles is the result of a profile command, and what --baseline and profile diff read.
type Profiles struct {
	Format   int       `json:"profile_format"`
	Profiles []Profile `json:"profiles"`
	// Groups are hosts that agree, the largest first; absent where there is one host.
	Groups []ProfileGroup `json:"groups,omitempty"`
	Errors []TargetError  `json:"errors,omitempty"`
}

// Profile is what one address was like.
type Profile struct {
	Target   string         `json:"target"`
	Addr     string         `json:"addr"`
	At       time.Time      `json:"at"`
	TookNS   int64          `json:"took_ns"`
	SYNs     int            `json:"syns"`
	Segments int            `json:"segments"`
	Values   []ProfileValue `json:"values"`
	// Differs is in what this one differs from the baseline; absent without one.
	Differs []ProfileDifference `json:"differs,omitempty"`
}

// ProfileValue is one property. Number, Low and High are absent where it is no number; High also where nothing bounds it.
type ProfileValue struct {
	Name   string   `json:"name"`
	State  string   `json:"state"` // measured, at_least, between, varies, not_measured
	Text   string   `json:"text,omitempty"`
	Number *float64 `json:"number,omitempty"`
	Low    *float64 `json:"low,omitempty"`
	High   *float64 `json:"high,omitempty"`
	Unit   string   `json:"unit,omitempty"`
	Seen   int      `json:"seen,omitempty"`
	// Confidence: agreed (by two flows or more), single, bounded, disputed, none.
	Confidence string `json:"confidence,omitempty"`
	// Cost is what measuring it sent to the host.
	Cost string `json:"cost,omitempty"`
	How  string `json:"how,omitempty"`
	Why  string `json:"why,omitempty"`
}

// ProfileDifference is one trait in which a host is not like another.
type ProfileDifference struct {
	Name   string `json:"name"`
	Weight string `json:"weight"` // informative, notable, grave
	Want   string `json:"want"`
	Got    string `json:"got"`
	Means  string `json:"means"`
}

// ProfileGroup are hosts that agree in all that is known of both; Differs is what sets them apart from the first group.
type ProfileGroup struct {
	Addrs   []string            `json:"addrs"`
	Differs []ProfileDifference `json:"differs,omitempty"`
}

// NewProfile is the view of a profile.
func NewProfile(p *profile.Profile) Profile {
	v := Profile{Target: p.Target, Addr: p.Addr.String(), At: p.At.UTC(), TookNS: int64(p.Took), SYNs: p.SYNs, Segments: p.Segments, Values: []ProfileValue{}}
	for i := range p.Values {
		x := &p.Values[i]
		y := ProfileValue{Name: string(x.Name), State: string(x.State), Text: x.Text, Unit: x.Unit, Seen: x.Seen, How: x.How, Why: x.Why}
		if t, ok := profile.TraitOf(x.Name); ok && x.Known() {
			y.Confidence, y.Cost = string(x.Confidence()), t.Cost
		}
		if x.HasNumber {
			y.Number, y.Low = &x.Number, &x.Low
			if x.High > 0 || x.State == profile.Measured {
				y.High = &x.High
			}
		}
		v.Values = append(v.Values, y)
	}
	return v
}

// NewProfileDifferences is the view of a comparison.
func NewProfileDifferences(list []profile.Difference) []ProfileDifference {
	out := []ProfileDifference{}
	for i := range list {
		d := &list[i]
		out = append(out, ProfileDifference{string(d.Trait.Name), d.Trait.Weight.String(), d.A.Text, d.B.Text, d.Trait.Means})
	}
	return out
}

// NewProfiles is the view of what a command measured: each against the baseline where there is one, and who agrees with whom.
func NewProfiles(measured []prober.Profiled, baseline *profile.Profile, errs []TargetError) Profiles {
	doc := Profiles{Format: ProfileFormat, Profiles: []Profile{}, Errors: errs}
	var known []*profile.Profile
	for i := range measured {
		m := &measured[i]
		if m.Err != nil {
			continue
		}
		known = append(known, &m.Profile)
		v := NewProfile(&m.Profile)
		if baseline != nil {
			v.Differs = NewProfileDifferences(profile.Compare(baseline, &m.Profile))
		}
		doc.Profiles = append(doc.Profiles, v)
	}
	if len(known) > 1 {
		doc.Groups = newGroups(known)
	}
	return doc
}

// ReadProfiles reads what a profile command has written as JSON. Unknown keys, names, states and other versions are errors.
func ReadProfiles(r io.Reader) ([]profile.Profile, error) {
	var doc Profiles
	d := json.NewDecoder(r)
	d.DisallowUnknownFields()
	if err := d.Decode(&doc); err != nil {
		return nil, fmt.Errorf("no stored profile: %w", err)
	}
	if doc.Format != ProfileFormat {
		return nil, fmt.Errorf("profile_format %d: want %d", doc.Format, ProfileFormat)
	}
	if len(doc.Profiles) == 0 {
		return nil, errors.New("it holds no profile")
	}
	var out []profile.Profile
	for i := range doc.Profiles {
		p, err := doc.Profiles[i].read()
		if err != nil {
			return nil, fmt.Errorf("profiles[%d]: %w", i, err)
		}
		out = append(out, p)
	}
	return out, nil
}

// Read is the profile that a view was made of.
func (v *Profile) Read() (*profile.Profile, error) {
	p, err := v.read()
	return &p, err
}

func (v *Profile) read() (profile.Profile, error) {
	addr, err := netip.ParseAddrPort(v.Addr)
	if err != nil {
		return profile.Profile{}, fmt.Errorf("addr: %w", err)
	}
	p := profile.Profile{Target: v.Target, Addr: addr, At: v.At, Took: time.Duration(v.TookNS), SYNs: v.SYNs, Segments: v.Segments}
	states := []profile.State{profile.Measured, profile.AtLeast, profile.Between, profile.Varies, profile.NotMeasured}
	for i := range v.Values {
		x := &v.Values[i]
		if _, ok := profile.TraitOf(profile.Name(x.Name)); !ok {
			return p, fmt.Errorf("values[%d].name %q is unknown", i, x.Name)
		}
		if !slices.Contains(states, profile.State(x.State)) {
			return p, fmt.Errorf("values[%d].state %q is unknown", i, x.State)
		}
		y := profile.Value{Name: profile.Name(x.Name), State: profile.State(x.State), Text: x.Text, Unit: x.Unit, Seen: x.Seen, How: x.How, Why: x.Why}
		if x.Number != nil {
			y.Number, y.Low, y.High, y.HasNumber = *x.Number, *x.Number, *x.Number, true
		}
		if x.Low != nil {
			y.Low = *x.Low
		}
		if y.High = 0; x.High != nil {
			y.High = *x.High
		}
		p.Set(y)
	}
	return p, nil
}
