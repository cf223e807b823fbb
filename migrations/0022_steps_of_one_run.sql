-- A run's steps are read without a look at other runs, and a commit has its plans whoever calls it.

set local search_path = fermata, pg_temp;

-- With `exists` in place of a value, a planner that expects many steps reads all runs of the client first, as a hash.
alter policy reads on step using ((select true from fermata.run r where r.id = step.run_id));

-- Until here its sessions had to say these two.
alter function commit set jit = off set enable_seqscan = off;

set local search_path to default;
