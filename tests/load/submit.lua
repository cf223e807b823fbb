-- wrk: one command per request, with an input of about 200 bytes.
--
--   TOKEN=… wrk -t 1 -c 32 -d 10 -s submit.lua http://HOST:PORT/v1/commands
wrk.method = "POST"
wrk.headers["authorization"] = "Bearer " .. os.getenv("TOKEN")
wrk.headers["content-type"] = "application/json"
wrk.body = string.format(
  '{"type":"flow.run","client_id":"bench","payload":{"workflow_name":"bench.steps","inputs":{"steps":0,"pad":"%s"}}}',
  string.rep("x", 143))

local refused = {}
function response(status, _, body)
  if status ~= 202 and not refused[status] then
    refused[status] = true
    print(status, body)
  end
end
