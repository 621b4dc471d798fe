// SPDX-License-Identifier: Apache-2.0
#include "client/cli/terminal.h"

#include <cstdlib>

#include "gtest/gtest.h"

namespace recurve::client {
namespace {

TEST(TerminalTest, AutoIsPlainInAPipeAndColoredOnATerminal) {
  setenv("TERM", "xterm", 1);
  unsetenv("NO_COLOR");
  EXPECT_EQ(ChooseDepthMarks("auto", false), DepthMarks::kNone);
  EXPECT_EQ(ChooseDepthMarks("auto", true), DepthMarks::kColors);
  setenv("NO_COLOR", "1", 1);
  EXPECT_EQ(ChooseDepthMarks("auto", true), DepthMarks::kSubscript);
  unsetenv("NO_COLOR");
  setenv("TERM", "dumb", 1);
  EXPECT_EQ(ChooseDepthMarks("auto", true), DepthMarks::kSubscript);
  EXPECT_EQ(ChooseDepthMarks("color", false), DepthMarks::kColors);
  EXPECT_EQ(ChooseDepthMarks("none", true), DepthMarks::kNone);
}

TEST(TerminalTest, EscapesNeedATerminalThatIsNotDumb) {
  setenv("TERM", "xterm", 1);
  EXPECT_TRUE(TakesEscapes(true));
  EXPECT_FALSE(TakesEscapes(false));
  setenv("TERM", "dumb", 1);
  EXPECT_FALSE(TakesEscapes(true));
  unsetenv("TERM");
  EXPECT_FALSE(TakesEscapes(true));
}

TEST(TerminalTest, ControlCharactersCannotDriveTheTerminal) {
  EXPECT_EQ(Printable("a\tb\nc"), "a\tb\nc");
  EXPECT_EQ(Printable("\x1b[2J"), "\xe2\x90\x9b[2J");
  EXPECT_EQ(Printable("\x7f"), "\xe2\x90\xa1");
  EXPECT_EQ(Printable("\xc2\x9b"
                      "2J"),
            "\xef\xbf\xbd"
            "2J");  // CSI as one C1 character
  EXPECT_EQ(Printable("\xc3\xa9\xe2\x82\xac"), "\xc3\xa9\xe2\x82\xac");
}

TEST(TerminalTest, MarksStayWithTheirToken) {
  EXPECT_EQ(MarkDepth(DepthMarks::kNone, "x", 2), "x");
  EXPECT_EQ(MarkDepth(DepthMarks::kSubscript, "x", 2), "x\xe2\x82\x82");
  EXPECT_EQ(MarkDepth(DepthMarks::kSubscript, "x\n\n", 12), "x\xe2\x82\x81\xe2\x82\x82\n\n");
  EXPECT_NE(MarkDepth(DepthMarks::kColors, "x", 1), MarkDepth(DepthMarks::kColors, "x", 3));
  EXPECT_EQ(MarkDepth(DepthMarks::kColors, "", 1), "");
}

}  // namespace
}  // namespace recurve::client
