//! Governance policies: from YAML to decisions.
