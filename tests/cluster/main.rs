//! Tests against a real API server. They need KUBECONFIG of a throwaway cluster with our CRDs: `make test` brings one up.

#![allow(unreachable_pub, reason = "the modules of one test binary")]

mod counting;
mod operator;
mod signals;
mod wait;
mod world;
