-- What is deleted by its age is found by its age.
CREATE INDEX cancels_by_age ON cancels (received_at);
CREATE INDEX request_conflicts_by_age ON request_conflicts (pipeline_id);
COMMENT ON COLUMN request_conflicts.pipeline_id IS 'Id under which the refusal is published; its time is the row''s age.';
