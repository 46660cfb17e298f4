//! Every SQL statement, one file per aggregate, every tenant statement behind TenantTx.
