//! Every outbound connection to an address a tenant chose: resolve, judge, pin, dial, bound.
