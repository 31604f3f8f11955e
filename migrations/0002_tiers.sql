-- Budgets of keys, Gemini accounts that are added at run time, and what `auto` does.

ALTER TABLE np_claw_api_keys
    ADD COLUMN monthly_budget_usd numeric(14, 6) CHECK (monthly_budget_usd >= 0);

-- `sealed_key` can be opened by the workers of the Gemini tier only (X25519 sealed box). Keys of one Google Cloud project
-- share its quota. A quota that is null is the catalogue's.
CREATE TABLE np_claw_gemini_accounts (
    id                        uuid PRIMARY KEY DEFAULT gen_random_uuid(),
    account_email             text NOT NULL UNIQUE CHECK (length(account_email) BETWEEN 1 AND 200),
    project                   text CHECK (length(project) BETWEEN 1 AND 200),
    sealed_key                bytea NOT NULL,
    requests_per_minute       integer CHECK (requests_per_minute > 0),
    prompt_tokens_per_minute  integer CHECK (prompt_tokens_per_minute > 0),
    requests_per_day          integer CHECK (requests_per_day > 0),
    enabled                   boolean NOT NULL DEFAULT true,
    created_at                timestamptz NOT NULL DEFAULT now()
);

-- The tiers that `auto` may use for a class of tasks, in the order of `priority`. Without rows: all, free before paid.
CREATE TABLE np_claw_routing (
    task_class   text NOT NULL,
    source_tier  text NOT NULL,
    priority     integer NOT NULL,
    enabled      boolean NOT NULL,
    PRIMARY KEY (task_class, source_tier)
);
