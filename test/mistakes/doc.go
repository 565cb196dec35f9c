// Package mistakes commits, for each phase of a migration, the mistake that the phase prevents: on a real server, counted, and beside it what
// Backfleet does instead. docs/five-phases.md tells what each test shows.
package mistakes
