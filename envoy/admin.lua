-- The JSON of a change over the admin API goes to the processor as it was sent, in a header, and as an empty object to
-- the transcoder, which would drop keys that it does not know: a misspelt key must not pass for one that was left out.

-- Names and numbers; who sends more means something else.
local LARGEST_CHANGE = 16384
-- What asks and changes nothing may be as large as a request or a configuration.
local QUESTIONS = {["/admin/explain"] = true, ["/admin/config/validate"] = true}

function envoy_on_request(request)
  local headers = request:headers()
  headers:remove("x-kvgate-admin-json")
  local path = headers:get(":path"):match("^[^?]*")
  if headers:get(":method") ~= "POST" or path:sub(1, 7) ~= "/admin/" or QUESTIONS[path] then return end
  local body = request:body()
  if body == nil or body:length() == 0 then return end
  if body:length() > LARGEST_CHANGE then
    request:respond({[":status"] = "413"}, "")
    return
  end
  request:headers():add("x-kvgate-admin-json", request:base64Escape(body:getBytes(0, body:length())))
  body:setBytes("{}")
end
