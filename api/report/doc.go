// Package report writes a validation for other programs and for people: JUnit XML, GitHub annotations, Markdown, one HTML file that needs
// nothing else.
package report
