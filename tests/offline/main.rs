//! Tests that need nothing but this process: guards over the tree, and a scripted API server for call order and faults.

#![allow(unreachable_pub, reason = "the modules of one test binary")]

mod guards;
