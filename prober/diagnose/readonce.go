package diagnose

import "time"

// readOnce keeps, while one round is judged, what several rules read from the same observations. Nothing in it is changed once it is read.
type readOnce struct {
	meetings *[]meeting
	stacks   *[]stack
	memory   *remembered
	patience *time.Duration
}

// remembered is what ReadMemory returns.
type remembered struct {
	Memory
	ok bool
}

// met are the flows with one set of options whose answers can be compared.
func (in *Input) met() []meeting {
	if in.read == nil {
		return meetings(in)
	}
	if in.read.meetings == nil {
		list := meetings(in)
		in.read.meetings = &list
	}
	return *in.read.meetings
}

// stacks are those that answer, as readStacks groups them.
func (in *Input) stacks() []stack {
	if in.read == nil {
		return readStacks(in)
	}
	if in.read.stacks == nil {
		list := readStacks(in)
		in.read.stacks = &list
	}
	return *in.read.stacks
}

// memory is what the searches of the round found; ok as of ReadMemory.
func (in *Input) memory() (m Memory, ok bool) {
	if in.read == nil {
		return ReadMemory(in.Observations)
	}
	if in.read.memory == nil {
		m, ok := ReadMemory(in.Observations)
		in.read.memory = &remembered{m, ok}
	}
	return in.read.memory.Memory, in.read.memory.ok
}

// patience is how late an RST to a SYN may come and still be the answer of a closed port, of the order of a round trip.
func (in *Input) patience() time.Duration {
	if in.read == nil {
		return patience(in)
	}
	if in.read.patience == nil {
		late := patience(in)
		in.read.patience = &late
	}
	return *in.read.patience
}
