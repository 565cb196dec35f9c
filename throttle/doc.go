// Package throttle decides how fast a fleet may go: the controller that turns what was measured of a database into a
// decision, the sharing of one budget among jobs and slots, and what a worker needs to obey it: gate, limiter and sizer.
//
// Everything here is arithmetic on values that are passed in. It reads no database and starts no goroutine; time comes in
// as an argument or as a clock, so that every decision can be replayed in a test. Package throttle/signals does the reading.
package throttle
