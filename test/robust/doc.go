// Package robust breaks hosts on purpose: it kills and stops daemons, in pairs
// and at random, and then looks whether every promise of the design still
// holds.
//
// All that is chosen by chance comes from one seed, which is printed; MOS_SEED
// repeats a run. MOS_FULL=1 asks for the long forms, MOS_ROUNDS for a number of
// containers in [TestChurn] and of faults in [TestSchedulersSurviveKills], MOS_FROM for the
// case to go on from in [TestRestartPairs] and there.
package robust
