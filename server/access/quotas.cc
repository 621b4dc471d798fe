// SPDX-License-Identifier: Apache-2.0
#include "server/access/quotas.h"

#include <algorithm>
#include <cmath>

#include "absl/strings/cord.h"
#include "absl/strings/numbers.h"
#include "absl/strings/str_cat.h"

namespace recurve {
namespace {

constexpr char kPushbackPayload[] = "recurve/pushback-ms";
constexpr std::chrono::milliseconds kBetweenSweeps(100);
constexpr std::chrono::microseconds kMinute(60'000'000);

absl::Status OverQuota(const std::string& tenant, const std::string& what) {
  return absl::ResourceExhaustedError(absl::StrCat("tenant '", tenant, "' ", what));
}

}  // namespace

std::optional<std::chrono::milliseconds> PushbackOf(const absl::Status& status) {
  const auto payload = status.GetPayload(kPushbackPayload);
  int64_t milliseconds = 0;
  if (!payload || !absl::SimpleAtoi(std::string(*payload), &milliseconds)) return std::nullopt;
  return std::chrono::milliseconds(milliseconds);
}

// ---- TokenBucket ----

uint64_t TokenBucket::LevelAt(SteadyTime now) const {
  const auto passed = std::chrono::duration_cast<std::chrono::microseconds>(now - at_);
  if (passed >= kMinute) return Full();
  return std::min(Full(), level_ + static_cast<uint64_t>(passed.count()) * per_minute_);
}

void TokenBucket::Earn(SteadyTime now) {
  level_ = LevelAt(now);
  at_ += std::chrono::duration_cast<std::chrono::microseconds>(now - at_);  // the rest counts later
}

void TokenBucket::SetRate(uint64_t per_minute, SteadyTime now) {
  Earn(now);
  per_minute_ = per_minute;
  level_ = std::min(Full(), level_);
}

std::chrono::microseconds TokenBucket::Take(uint64_t tokens, SteadyTime now) {
  Earn(now);
  const uint64_t parts = tokens * kParts;
  if (parts <= level_) {
    level_ -= parts;
    return std::chrono::microseconds(0);
  }
  return std::chrono::microseconds((parts - level_ + per_minute_ - 1) / per_minute_);
}

void TokenBucket::GiveBack(uint64_t tokens, SteadyTime now) {
  Earn(now);
  level_ = std::min(Full(), level_ + tokens * kParts);
}

bool TokenBucket::IsFull(SteadyTime now) const { return LevelAt(now) == Full(); }

// ---- Quotas ----

Quotas::Quotas(uint32_t queue, std::function<SteadyTime()> now)
    : queue_(queue), now_(std::move(now)), rules_(std::make_shared<AccessRules>()) {}

Quotas::~Quotas() = default;

void Quotas::SetRules(std::shared_ptr<const AccessRules> rules) {
  const MutexLock lock(mutex_);
  rules_ = std::move(rules);
}

absl::StatusOr<std::unique_ptr<Quotas::Lease>> Quotas::Enter(const std::string& tenant,
                                                             Rejection* why) {
  const MutexLock lock(mutex_);
  const Quota& quota = rules_->QuotaOf(tenant);
  if (quota == Quota()) return nullptr;
  if (tenants_.size() >= kMostTenantsTracked && !tenants_.contains(tenant)) {
    Sweep(now_());
    if (tenants_.size() >= kMostTenantsTracked) {
      *why = Rejection::kQuotaRequests;
      return OverQuota(tenant, absl::StrCat("is one too many: ", kMostTenantsTracked,
                                            " others have calls or were over their quota in the "
                                            "last minute"));
    }
  }
  Tenant& state = tenants_[tenant];
  if (quota.requests && state.calls >= *quota.requests) {
    const uint32_t calls = state.calls;
    if (calls == 0) tenants_.erase(tenant);  // a quota of 0
    *why = Rejection::kQuotaRequests;
    return OverQuota(tenant, absl::StrCat("has ", calls, " calls at once; its quota `requests` is ",
                                          *quota.requests));
  }
  ++state.calls;
  return std::unique_ptr<Lease>(new Lease(this, tenant));
}

absl::Status Quotas::Charge(Lease* lease, uint32_t samples, uint64_t tokens, Rejection* why) {
  const MutexLock lock(mutex_);
  const std::string& name = lease->tenant_;
  const Quota& quota = rules_->QuotaOf(name);
  Tenant& tenant = tenants_[name];
  if (quota.queue_share) {
    // At least one, however small the share.
    const auto most =
        std::max<uint64_t>(1, static_cast<uint64_t>(std::floor(*quota.queue_share * queue_)));
    *why = Rejection::kQuotaQueue;
    const std::string limit =
        absl::StrCat("its quota `queue_share` of ", *quota.queue_share, " allows ", most);
    if (samples > most) {
      return absl::InvalidArgumentError(absl::StrCat(
          samples, " samples can never wait together for tenant '", name, "'; ", limit));
    }
    if (uint64_t{tenant.waiting} + samples > most) {
      return OverQuota(name, absl::StrCat("has ", tenant.waiting, " requests waiting; ", limit));
    }
  }
  if (quota.tokens_per_minute) {
    const uint64_t rate = *quota.tokens_per_minute;
    *why = Rejection::kQuotaTokens;
    if (tokens > rate) {
      return absl::InvalidArgumentError(
          absl::StrCat("prompt and new tokens are up to ", tokens, "; tenant '", name,
                       "' has the quota `tokens_per_minute` of ", rate, ", so lower max_tokens"));
    }
    const SteadyTime now = now_();
    if (!tenant.bucket) tenant.bucket.emplace(rate, now);
    if (tenant.bucket->per_minute() != rate) tenant.bucket->SetRate(rate, now);
    const std::chrono::microseconds wait = tenant.bucket->Take(tokens, now);
    if (wait.count() > 0) {
      const auto pushback = std::chrono::ceil<std::chrono::milliseconds>(wait);
      absl::Status status =
          OverQuota(name, absl::StrCat("has used its quota `tokens_per_minute` of ", rate, "; ",
                                       tokens, " tokens are there in ", pushback.count(), " ms"));
      status.SetPayload(kPushbackPayload, absl::Cord(absl::StrCat(pushback.count())));
      return status;
    }
    lease->charged_ = tokens;
  }
  tenant.waiting += samples;
  lease->waiting_ = samples;
  return absl::OkStatus();
}

void Quotas::LeftQueue(Lease* lease, uint32_t samples) {
  const MutexLock lock(mutex_);
  const uint32_t left = std::min(samples, lease->waiting_);
  lease->waiting_ -= left;
  tenants_[lease->tenant_].waiting -= left;
}

void Quotas::Leave(Lease* lease) {
  LeftQueue(lease, lease->waiting_);
  const MutexLock lock(mutex_);
  const auto found = tenants_.find(lease->tenant_);
  Tenant& tenant = found->second;
  --tenant.calls;
  const SteadyTime now = now_();
  if (tenant.bucket && lease->charged_ > lease->used_) {
    tenant.bucket->GiveBack(lease->charged_ - lease->used_, now);
  }
  if (tenant.calls == 0 && (!tenant.bucket || tenant.bucket->IsFull(now))) tenants_.erase(found);
}

void Quotas::Sweep(SteadyTime now) {
  if (now < next_sweep_) return;
  next_sweep_ = now + kBetweenSweeps;
  std::erase_if(tenants_, [now](const auto& entry) {
    const Tenant& tenant = entry.second;
    return tenant.calls == 0 && (!tenant.bucket || tenant.bucket->IsFull(now));
  });
}

size_t Quotas::tenants() {
  const MutexLock lock(mutex_);
  Sweep(now_());
  return tenants_.size();
}

// ---- Lease ----

Quotas::Lease::~Lease() { quotas_->Leave(this); }

absl::Status Quotas::Lease::Charge(uint32_t samples, uint64_t tokens, Rejection* why) {
  return quotas_->Charge(this, samples, tokens, why);
}

void Quotas::Lease::LeftQueue() { quotas_->LeftQueue(this, 1); }

}  // namespace recurve
