package profile

// Words are the values that a trait can have where it is no number; nil: they are not a fixed few.
func (t *Trait) Words() []string {
	switch t.Name {
	case SACK, Timestamps, LossByTime, PerHostPAWS, AbortOnOverflow:
		return []string{"on", "off"}
	case SYNCookies, DeferAccept:
		return []string{"yes", "no"}
	case ECN:
		return []string{"on", "off", "reflects", "dropped"}
	case TimestampStart:
		return []string{"one clock", "one per connection"}
	case TimeWaitISN, TimeWaitTimestamp, TimeWaitOldISN, TimeWaitOldStamp:
		return []string{met, metACK, metRST, metSilence}
	case TimeWaitRST:
		return []string{"ends it", "ignored"}
	default:
		return nil
	}
}
