//! Reporters, given the events of a run, show what they should. The runs are synthetic, the words are not.
