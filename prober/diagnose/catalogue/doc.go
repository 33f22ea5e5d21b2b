// Package catalogue says of every verdict what a person needs who meets it for the first time: what users and monitoring see, how it comes
// about and who says so, how it is proven, what looks like it, what to do, what to count. It is text, ordered; it judges nothing.
package catalogue
