-- Tells all dispatchers to read the policies again. Returns {outbox_id, events}.
CREATE OR REPLACE FUNCTION wake_v1(actor text) RETURNS json
LANGUAGE plpgsql SECURITY DEFINER AS $$
DECLARE
    events json := json_build_array(json_build_object('freed', json_build_array(
        json_build_object('tenant', '*', 'kind', 'policy', 'name', '', 'holder', gen_random_uuid()))));
BEGIN
    RETURN json_build_object('outbox_id', publish_v1(events, clock_v1(), actor), 'events', events);
END
$$;
