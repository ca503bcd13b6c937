-- $1 parents, $2 children, $3 what a parent's failure means for the child: cancel or ignore.
INSERT INTO larder.dependencies (parent_id, child_id, on_fail)
SELECT * FROM unnest($1::bigint[], $2::bigint[], $3::text[])
