// SPDX-License-Identifier: Apache-2.0
#include "engine/base/machine.h"

#include <sched.h>

#include <cstdint>
#include <string>

#include "gtest/gtest.h"
#include "tests/scoped_directory.h"

namespace recurve {
namespace {

// A file system root with the few files that the functions read.
class MachineTest : public testing::Test {
 protected:
  void SetUp() override { Write("/proc/meminfo", "MemTotal: 9000 kB\nMemAvailable:    8000 kB\n"); }
  void Write(const std::string& path, const std::string& text) { root_.Write(path, text); }
  const std::string& root() const { return root_.path(); }

 private:
  const ScopedDirectory root_;
};

TEST_F(MachineTest, UnlimitedIsTheAffinityAndMemAvailable) {
  EXPECT_EQ(UsableThreads(root()), UsableThreads("/nonexistent"));
  EXPECT_EQ(UsableMemoryBytes(root()), 8000U * 1024);
  EXPECT_EQ(UsableMemoryBytes("/nonexistent"), 0U);
}

// The processors that this thread may run on; put back at the end of the scope.
class ScopedAffinity {
 public:
  ScopedAffinity() { ok_ = sched_getaffinity(0, sizeof(saved_), &saved_) == 0; }
  ScopedAffinity(const ScopedAffinity&) = delete;
  ScopedAffinity& operator=(const ScopedAffinity&) = delete;
  ~ScopedAffinity() {
    if (ok_) sched_setaffinity(0, sizeof(saved_), &saved_);
  }
  int count() const { return ok_ ? CPU_COUNT(&saved_) : 0; }
  // Leaves the first `count` of them.
  void Limit(int count) {
    cpu_set_t some;
    CPU_ZERO(&some);
    for (int cpu = 0; cpu < CPU_SETSIZE && CPU_COUNT(&some) < count; ++cpu) {
      if (CPU_ISSET(cpu, &saved_)) CPU_SET(cpu, &some);
    }
    ASSERT_EQ(sched_setaffinity(0, sizeof(some), &some), 0);
  }

 private:
  bool ok_;
  cpu_set_t saved_;
};

TEST_F(MachineTest, AffinityLimitsThreads) {
  ScopedAffinity affinity;
  if (affinity.count() < 2) GTEST_SKIP() << "fewer than two processors, or more than 1,024";
  EXPECT_EQ(UsableThreads("/nonexistent"), static_cast<uint32_t>(affinity.count()));
  affinity.Limit(1);
  EXPECT_EQ(UsableThreads("/nonexistent"), 1U);
  affinity.Limit(2);
  EXPECT_EQ(UsableThreads("/nonexistent"), 2U);
}

TEST_F(MachineTest, UnifiedGroupLimitsThreads) {
  Write("/proc/self/cgroup", "0::/a/b\n");
  Write("/sys/fs/cgroup/a/b/cpu.max", "max 100000\n");
  Write("/sys/fs/cgroup/a/cpu.max", "50000 100000\n");  // half a processor: one thread
  EXPECT_EQ(UsableThreads(root()), 1U);
}

TEST_F(MachineTest, UnifiedGroupRoundsUpAndNeverRaises) {
  Write("/proc/self/cgroup", "0::/\n");
  Write("/sys/fs/cgroup/cpu.max", "100000000 100000\n");
  EXPECT_EQ(UsableThreads(root()), UsableThreads("/nonexistent"));
}

TEST_F(MachineTest, ContainerSeesItsGroupAtTheMount) {
  Write("/proc/self/cgroup", "0::/kubepods/pod1\n");  // a path of the host that does not exist here
  Write("/sys/fs/cgroup/cpu.max", "10000 100000\n");
  Write("/sys/fs/cgroup/memory.max", "4096000\n");
  Write("/sys/fs/cgroup/memory.current", "96000\n");
  EXPECT_EQ(UsableThreads(root()), 1U);
  EXPECT_EQ(UsableMemoryBytes(root()), 4000000U);
}

TEST_F(MachineTest, PageCacheCountsAsFree) {
  Write("/proc/self/cgroup", "0::/a\n");
  Write("/sys/fs/cgroup/a/memory.max", "5000\n");
  Write("/sys/fs/cgroup/a/memory.current", "3000\n");
  Write("/sys/fs/cgroup/a/memory.stat", "anon 10\ninactive_file 2000\n");
  EXPECT_EQ(UsableMemoryBytes(root()), 4000U);
}

TEST_F(MachineTest, FirstVersionGroups) {
  Write("/proc/self/cgroup", "3:cpu,cpuacct:/x\n2:memory:/x\n");
  Write("/sys/fs/cgroup/cpu/x/cpu.cfs_quota_us", "20000\n");
  Write("/sys/fs/cgroup/cpu/x/cpu.cfs_period_us", "100000\n");
  Write("/sys/fs/cgroup/cpu/cpu.cfs_quota_us", "-1\n");
  Write("/sys/fs/cgroup/memory/x/memory.limit_in_bytes", "7000\n");
  Write("/sys/fs/cgroup/memory/x/memory.usage_in_bytes", "9000\n");
  EXPECT_EQ(UsableThreads(root()), 1U);
  EXPECT_EQ(UsableMemoryBytes(root()), 0U);  // nothing is left
}

}  // namespace
}  // namespace recurve
