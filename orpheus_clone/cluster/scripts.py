"""What Redis does in one step, in Lua: members and version never tell different stories.

A version begins at Redis's clock in us and counts up, so that none comes again after a flush.
"""

_CHANGED = """
local function changed()
  if redis.call('EXISTS', VERSION) == 0 then
    local now = redis.call('TIME')
    redis.call('SET', VERSION, string.format('%.0f', now[1] * 1e6 + now[2]))
  end
  redis.call('PUBLISH', CHANGES, redis.call('INCR', VERSION))
end
local function renew(seconds)
  redis.call('EXPIRE', NODES, seconds)
  redis.call('EXPIRE', VERSION, seconds)
end
local function node_of(text)
  local is_json, node = pcall(cjson.decode, text or '')
  return is_json and type(node) == 'table' and node or {}
end
"""

HEARTBEAT = (
    """
local NODE, NODES, VERSION = KEYS[1], KEYS[2], KEYS[3]
local id, said, ttl_ms, keep, CHANGES = ARGV[1], ARGV[2], ARGV[3], ARGV[4], ARGV[5]
"""
    + _CHANGED
    + """
local held, node = redis.call('GET', NODE), node_of(said)
local before = node_of(held)
if before.incarnation and before.incarnation ~= node.incarnation then
  return held
end
redis.call('SET', NODE, said, 'PX', ttl_ms)
redis.call('SADD', NODES, id)
if before.phase ~= node.phase then
  changed()
end
renew(keep)
return held and '' or nil
"""
)
"""KEYS node, nodes, version; ARGV id, JSON, TTL in ms, seconds to keep, channel.

Nil if the node was not known, '' if it was, the holder's JSON if that is another incarnation.
"""

LEAVE = (
    """
local NODE, NODES, VERSION = KEYS[1], KEYS[2], KEYS[3]
local id, incarnation, keep, CHANGES = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
"""
    + _CHANGED
    + """
if node_of(redis.call('GET', NODE)).incarnation == incarnation then
  redis.call('DEL', NODE)
  redis.call('SREM', NODES, id)
  changed()
  renew(keep)
end
"""
)
"""KEYS node, nodes, version; ARGV id, incarnation, seconds to keep, channel."""

FLEET = (
    """
local NODES, VERSION = KEYS[1], KEYS[2]
local NODE, keep, CHANGES = ARGV[1], ARGV[2], ARGV[3]
"""
    + _CHANGED
    + """
local alive, has_changed = {}, false
for _, id in ipairs(redis.call('SMEMBERS', NODES)) do
  local said = redis.call('GET', NODE .. id)
  if said then
    alive[#alive + 1] = said
  else
    redis.call('SREM', NODES, id)
    has_changed = true
  end
end
if has_changed then
  changed()
  renew(keep)
end
return {redis.call('GET', VERSION) or '0', alive}
"""
)
"""KEYS nodes, version; ARGV the prefix of node keys, seconds to keep, channel.

The version and every node's JSON. Nodes whose time is up leave the set here, since a key that
expires tells nobody.
"""
