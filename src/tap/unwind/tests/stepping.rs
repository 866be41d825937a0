//! Every instruction of a stretch of code, by the processor's trap flag: rules hold between calls, too.
