//! Stand-ins for the MicroOVN charm and for its command line.
