//! What any long-running program of ours does alike: telemetry, listening, health, drain.
