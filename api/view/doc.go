// Package view is how results look to the outside: the JSON of the command line, the HTTP API and stored files, in structs of
// their own with stable names. It converts and encodes; it decides nothing.
package view
