// Package view is how results look to the outside: the JSON of the command line, the HTTP API and stored files, in structs of
// their own with stable names. Times are RFC 3339 with nanoseconds, durations integers of nanoseconds in fields that end in _ns;
// what is not known is left out, never zero. It converts and encodes; it decides nothing.
package view
