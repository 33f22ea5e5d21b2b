package diagnose

// chance is how likely a cause makes a fact, in a few honest words: nobody knows these to a digit, and nothing is concluded from them
// but which experiment is worth its cost and what a person should still think of.
type chance float64

const (
	never  chance = 0.005
	seldom chance = 0.1
	even   chance = 0.5
	often  chance = 0.75
	mostly chance = 0.9
	always chance = 0.995
)

// prediction is what a cause says of the facts that it touches; of the others it says what is usual.
type prediction struct {
	verdict Verdict
	says    map[string]chance
}

// predictions lists the causes that an investigation weighs against each other. Causes that no experiment can tell apart from here stand
// here as well: that they stay possible is then what the trace says.
func predictions() []prediction {
	slow := map[string]chance{"trouble": even, "late": always, "forward": never, "together": even}
	return []prediction{
		{Healthy, map[string]chance{"trouble": never, "answered": always, "healed": even, "forward": never, "back": never}},
		{LocalARPQueueOverflow, map[string]chance{"trouble": always, "unseen": always, "asking": always, "healed": always, "answered": always, "together": mostly}},
		{LocalARPUnresolved, map[string]chance{"trouble": always, "unseen": always, "asking": always, "unfound": always, "answered": never, "healed": never, "errors": seldom, "pinged": never}},
		{RemoteARPQueueOverflow, map[string]chance{"trouble": always, "asked": always, "healed": mostly, "answered": always, "back": even, "together": mostly}},
		{RemoteARPUnresolved, map[string]chance{"trouble": always, "asked": always, "answered": even, "back": even, "healed": even, "together": even}},
		{StaleNeighborAfterFailover, map[string]chance{"trouble": always, "answered": even, "owners": mostly, "healed": even}},
		{DuplicateAddress, map[string]chance{"trouble": even, "owners": always, "refused": even, "dead flows": even}},
		{ProberLocalDrop, map[string]chance{"trouble": mostly, "unseen": always, "crowded": even, "asking": never, "answered": even, "healed": seldom}},
		{ProberClockStep, map[string]chance{"trouble": even, "stepped": always}},
		{TWRecyclePAWSDropSNAT, remembers()},
		{TWRecyclePAWSDrop, remembers()},
		{TSClockDomainConflict, remembers()},
		{ClientRandomTSVsRecycle, remembers()},
		{TimeWaitCollision, map[string]chance{"trouble": always, "stray ack": always, "together": even, "paced": even}},
		{ClientPAWSReject, map[string]chance{"trouble": always, "rejected": always, "echo": even, "forward": even, "back": even}},
		{MiddleboxTSecrCorrupt, map[string]chance{"trouble": mostly, "echo": always, "rejected": mostly}},
		{IPVSPortReuseDrop, map[string]chance{"trouble": even, "reuse": mostly, "answered": always}},
		{AcceptQueueOverflow, map[string]chance{"trouble": mostly, "answered": even, "head": often, "other port": never, "stack": always, "ignored": even,
			"paced": mostly, "dead flows": even, "forward": even, "healed": seldom}},
		{AbortOnOverflow, map[string]chance{"trouble": always, "aborted": always, "answered": always, "other port": never, "paced": even}},
		{SYNQueueFullDrop, map[string]chance{"trouble": always, "answered": even, "other port": never, "stack": always, "paced": mostly, "forward": mostly, "uneven": seldom, "head": even}},
		{PortClosed, map[string]chance{"trouble": always, "refused": always, "other port": even, "dead flows": even}},
		{SYNRateLimited, map[string]chance{"trouble": always, "answered": always, "head": always, "paced": never, "forward": mostly, "healed": seldom, "other port": even, "dead flows": seldom}},
		{ACLDrop, map[string]chance{"trouble": always, "answered": seldom, "errors": even, "other port": even, "stack": never, "other source": even, "paced": always}},
		{ReversePathFilter, map[string]chance{"trouble": always, "answered": never, "other port": always, "stack": never, "other source": mostly, "paced": always, "pinged": seldom}},
		{ConntrackTableFull, map[string]chance{"trouble": always, "answered": even, "other port": always, "paced": mostly, "forward": even, "dead flows": even, "head": even}},
		{SNATPortExhaustion, map[string]chance{"trouble": always, "answered": even, "other port": never, "stack": never, "paced": mostly, "forward": even, "dead flows": even, "head": even}},
		{SNATPortRace, map[string]chance{"trouble": always, "answered": always, "together": always, "paced": never, "forward": seldom, "dead flows": never}},
		{VIPPoolEmpty, map[string]chance{"trouble": even, "turns": mostly, "refused": even, "errors": even, "paced": even}},
		{BlackholeBackend, map[string]chance{"trouble": always, "dead flows": always, "answered": always, "paced": mostly, "head": seldom, "uneven": even, "other port": even}},
		{ECMPPathLoss, map[string]chance{"trouble": mostly, "uneven": always, "answered": always, "forward": mostly, "back": even, "paced": mostly, "other port": mostly}},
		{ForwardSYNLoss, map[string]chance{"trouble": mostly, "forward": mostly, "back": even, "answered": always, "paced": often, "other port": often, "healed": seldom, "head": seldom, "keeps state": even}},
		{SYNACKLoss, map[string]chance{"trouble": mostly, "back": mostly, "forward": even, "answered": always, "paced": often, "other port": often, "healed": seldom, "head": seldom}},
		{SlowPathNotStall, slow},
		{MTUBlackhole, map[string]chance{"trouble": even, "large": always, "answered": always}},
		{LBFullProxyMasks, map[string]chance{"trouble": seldom, "hollow": even, "answered": always, "keeps state": seldom}},
	}
}

// remembers is what servers with per-host PAWS do, whosever clock it is: the survey and the oracle tell whose.
func remembers() map[string]chance {
	return map[string]chance{"trouble": mostly, "tsval": 0.97, "answered": even, "dead flows": even, "paced": even, "other source": even,
		"stack": always, "healed": seldom, "head": seldom, "other port": even}
}

// of is the likelihood of an answer under the prediction.
func (p *prediction) of(f *fact, a answer) float64 {
	c, said := p.says[f.name]
	if !said {
		c = f.usual
	}
	if a == no {
		return float64(1 - c)
	}
	return float64(c)
}
