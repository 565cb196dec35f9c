// Package harness starts real servers from this machine's own binaries: PostgreSQL primaries with streaming
// standbys, nats-server with JetStream, and backfleet itself. Tests, the demo and the benchmarks share it.
//
// The core is [Env], whose methods return errors and which works in any program. Tests use the small wrappers
// [Postgres], [Database], [NATS], [Backfleet] and [Start], which fail the test with a hint when a server cannot be
// had: a test that lacks its servers must never pass by being skipped. A package that uses them has this TestMain:
//
//	func TestMain(m *testing.M) { harness.Main(m) }
//
// With BACKFLEET_TEST_SERVERS=containers the same tests have PostgreSQL and NATS in containers instead (testcontainers-go, images that
// test/images/build.sh makes), each a child process that stands for its container.
//
// Nothing outlives the program: every child carries a parent-death signal, ports are reserved by file locks, and
// directories that a killed program left behind are removed by the next one. Only Linux gives all of that.
package harness
