// Package crash holds the test that kills the server while it is written to.
//
// Eight writers create, update, delete and send transactions; at a random
// moment the process gets SIGKILL. After a restart on the same folder every
// write that was acknowledged must be there and found by search, a transaction
// must be there as a whole or not at all, and no history may have a gap. The
// test repeats this on the same data.
//
// A killed process leaves its writes to the operating system, so this shows
// that nothing is acknowledged before it is written and that recovery is right;
// the loss of power is left to the fsync of the database.
//
// TestNodes does the same with several nodes on one PostgreSQL: nodes are killed
// and stopped, and the server of the database crashes, while the writers use
// the others. HYGEIA_CRASH_ROUNDS makes both tests longer.
//
// TestKillMedTech and TestKillDICOM do it while devices send and images are stored.
//
// TestRollingRestart stops and starts the nodes in turn, behind a balancer that
// asks whether they are ready: no request fails.
//
// Reading order: crash_test.go (the rounds), process_test.go (the server),
// writer_test.go (what the writers do and remember), check_test.go (what must hold),
// nodes_test.go (several nodes), rolling_test.go.
package crash
