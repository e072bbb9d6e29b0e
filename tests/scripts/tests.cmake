# Golden sessions; see tests/scripts/run.
file(GLOB sessions CONFIGURE_DEPENDS ${CMAKE_CURRENT_LIST_DIR}/*.dish)
foreach(session ${sessions})
    get_filename_component(name ${session} NAME_WE)
    add_test(NAME script.${name} COMMAND ${CMAKE_CURRENT_LIST_DIR}/run ${session})
    set_tests_properties(script.${name} PROPERTIES TIMEOUT 300 ENVIRONMENT "DISH=$<TARGET_FILE:dish>")
endforeach()
