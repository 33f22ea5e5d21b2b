// Package v1 is the HTTP API for programs and for the page: runs that are asked for and followed, what rounds gave, how targets fare, and the
// catalogue of verdicts. It is described by the OpenAPI document at /openapi.json, which is made from the same types. Errors are problems
// (RFC 9457) that name the place. What can hurt a target or others is refused to callers who did not authenticate; every run keeps to the
// configuration's allow: and limits:. Handlers read a request, ask once, and show what they got.
package v1
