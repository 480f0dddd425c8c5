#include "follow.h"

namespace shoal::delta {

void replaceCovers(std::vector<Cover>& covers, std::vector<Stretch> stretches, std::vector<Cover> found) {
  // A file inside a file has the same bytes twice: what comes first counts.
  std::sort(stretches.begin(), stretches.end(), [](const Stretch& a, const Stretch& b) { return a.begin < b.begin; });
  std::sort(found.begin(), found.end(), [](const Cover& a, const Cover& b) { return a.target < b.target; });
  uint64_t at = 0;
  for (Stretch& s : stretches) {
    s.begin = std::max(s.begin, at);
    at = std::max(at, s.end);
  }
  stretches.erase(std::remove_if(stretches.begin(), stretches.end(), [](const Stretch& s) { return s.begin >= s.end; }), stretches.end());
  at = 0;
  found.erase(std::remove_if(found.begin(), found.end(), [&](const Cover& c) {
    if (c.target < at) return true;
    at = c.target + c.length;
    return false;
  }), found.end());
  std::vector<Cover> out;
  size_t s = 0;
  for (Cover c : covers) {
    while (s < stretches.size() && stretches[s].end <= c.target) s++;
    for (size_t k = s; k < stretches.size() && c.length > 0 && stretches[k].begin < c.target + c.length; k++) {
      if (stretches[k].begin > c.target) out.push_back({c.target, c.base, stretches[k].begin - c.target});
      const uint64_t end = c.target + c.length, next = std::min(end, stretches[k].end);
      if (!(c.base & kFill)) c.base += next - c.target;
      c.target = next;
      c.length = end - next;
    }
    if (c.length > 0) out.push_back(c);
  }
  out.insert(out.end(), found.begin(), found.end());
  std::sort(out.begin(), out.end(), [](const Cover& a, const Cover& b) { return a.target < b.target; });
  covers.swap(out);
}

}  // namespace shoal::delta
