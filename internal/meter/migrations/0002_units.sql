-- Calls of capabilities are measured in units: thousandths of one of meter's. Both are empty for language models.
ALTER TABLE usage_event ADD COLUMN meter TEXT NOT NULL DEFAULT '';
ALTER TABLE usage_event ADD COLUMN units BIGINT NOT NULL DEFAULT 0;

-- The rollup of units, beside usage_rollup: a product may be measured by several meters.
CREATE TABLE usage_unit (
    hour         BIGINT NOT NULL,
    org          TEXT NOT NULL,
    api_key      TEXT NOT NULL,
    provider     TEXT NOT NULL,
    product      TEXT NOT NULL,
    model        TEXT NOT NULL,
    currency     TEXT NOT NULL,
    meter        TEXT NOT NULL,
    units        BIGINT NOT NULL,
    PRIMARY KEY (org, hour, api_key, provider, product, model, currency, meter)
) {{without_rowid}};
CREATE INDEX usage_unit_provider ON usage_unit (provider, hour);
