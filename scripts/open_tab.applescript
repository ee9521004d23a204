-- osascript open_tab.applescript COMMAND: runs COMMAND in a new tab of Terminal's front window, or,
-- as the first of a launch (with a second argument, "first"), in a new window.
-- Only a keystroke opens a tab, and macOS asks for a permission for that (Accessibility). Without
-- it, or if no tab appears, each COMMAND gets a window.
on run argv
	set theCommand to item 1 of argv
	tell application "Terminal"
		activate
		if (count of argv) > 1 then
			do script theCommand
			return
		end if
		set hasNewTab to false
		try
			set oldTty to tty of selected tab of front window
			tell application "System Events" to keystroke "t" using command down
			repeat 30 times
				delay 0.1
				if tty of selected tab of front window is not oldTty then
					set hasNewTab to true
					exit repeat
				end if
			end repeat
		end try
		if hasNewTab then
			do script theCommand in selected tab of front window
		else
			do script theCommand
		end if
	end tell
end run
